// Where a kernel runs: the tags `Cpu` and `Cuda`, and `Context<D>`, the only thing besides pointers that a kernel is
// given. A kernel family is declared once as `template <Device D, class T> void f(Context<D>, ...)`; each backend
// instantiates what it has, so that a kernel that is declared and missing fails at link.
#pragma once

#include <concepts>

struct CUstream_st;  // what CUDA's cudaStream_t points to; declared here so that no CUDA header is needed

namespace subspect::kernels {

class ThreadTeam;

namespace gpu {
struct Libraries;  // kernels/cuda/libraries.h
}

struct Cpu {};
struct Cuda {};

template <class D>
concept Device = std::same_as<D, Cpu> || std::same_as<D, Cuda>;

template <Device D>
struct Context;

/// The CPU's context: the team of threads that shares the work. Kernels return when their work is done.
template <>
struct Context<Cpu> {
  ThreadTeam* team = nullptr;  ///< never null when a kernel is called
};

/// A GPU's context: the stream on which kernels are queued, and the handles of the libraries that matrix products use.
/// Kernels return before their work is done.
template <>
struct Context<Cuda> {
  CUstream_st* stream = nullptr;        ///< nullptr for the default stream of the current device
  gpu::Libraries* libraries = nullptr;  ///< read by the kernels that kernels/cuda/libraries.h names
};

}  // namespace subspect::kernels
