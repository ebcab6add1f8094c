// cuBLASLt's products: the cache of plans, the choice of algorithms, and their tuning.
#include "kernels/cuda/libraries.h"

#include <cuda_runtime_api.h>

#include <cstring>
#include <limits>
#include <map>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include "kernels/cuda/matmul_plan.h"
#include "kernels/cuda/tuning_file.h"

namespace subspect::kernels::gpu {
namespace {

constexpr int timed_runs = 10;  ///< of each candidate, after one that is not timed

using Handle = std::unique_ptr<cublasLtContext, Destroyer<cublasLtDestroy>>;

Handle create_handle() {
  cublasLtHandle_t handle = nullptr;
  const cublasStatus_t status = cublasLtCreate(&handle);
  if (status != CUBLAS_STATUS_SUCCESS) {
    throw std::runtime_error(std::string("cublasLtCreate: ") + cublasLtGetStatusString(status));
  }
  return Handle(handle);
}

/// Of the CUDA runtime, while tuning.
void check(cudaError_t status, const char* call, const ProductShape& shape) {
  if (status == cudaSuccess) return;
  throw std::runtime_error(std::string(call) + ": " + cudaGetErrorString(status) + " (tuning the product " +
                           to_string(shape) + ")");
}

bool capturing(CUstream_st* stream, const ProductShape& shape) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  check(cudaStreamIsCapturing(stream, &status), "cudaStreamIsCapturing", shape);
  return status != cudaStreamCaptureStatusNone;
}

using Event = std::unique_ptr<CUevent_st, Destroyer<cudaEventDestroy>>;
using DeviceMemory = std::unique_ptr<void, Destroyer<cudaFree>>;

Event create_event(const ProductShape& shape) {
  cudaEvent_t event = nullptr;
  check(cudaEventCreate(&event), "cudaEventCreate", shape);
  return Event(event);
}

template <class T>
constexpr cudaDataType_t cuda_type = std::is_same_v<T, float> ? CUDA_R_32F : CUDA_R_16BF;

template <class T, class Y>
ProductShape shape_of(const MatrixProduct<T, Y>& p) {
  ProductShape shape{cuda_type<T>, cuda_type<Y>, p.rows, p.cols, p.depth};
  shape.a_stride = p.a_stride != 0 ? p.a_stride : p.a_transposed ? p.rows : p.depth;
  shape.b_stride = p.b_stride != 0 ? p.b_stride : p.b_transposed ? p.depth : p.cols;
  shape.c_stride = p.c_stride != 0 ? p.c_stride : p.cols;
  shape.a_transposed = p.a_transposed;
  shape.b_transposed = p.b_transposed;
  shape.accumulate = p.accumulate;
  shape.bias = p.bias != nullptr;
  shape.a_alignment = alignment_of(p.a);
  shape.b_alignment = alignment_of(p.b);
  shape.c_alignment = alignment_of(p.c);
  return shape;
}

}  // namespace

/// The handle, and what is known of each shape.
struct Libraries::State {
  struct Entry {
    MatmulPlan plan;
    cublasLtMatmulAlgo_t algorithm{};
    bool settled = false;  ///< not to be tuned (again)
  };

  LibrariesConfig config;
  Handle handle = create_handle();
  TuningOwner owner;
  TunedAlgorithms tuned;
  std::map<ProductShape, Entry> entries;
  std::vector<std::string> warnings;

  explicit State(const LibrariesConfig& given) : config(given), owner{given.gpu, cublasLtGetVersion()} {
    if (!config.tuning_file.empty()) tuned = read_file();
  }

  void warn(const std::string& warning) {
    if (!warning.empty()) warnings.push_back(warning);
  }

  TunedAlgorithms read_file() {
    std::string warning;
    TunedAlgorithms algorithms = read_tuning_file(config.tuning_file, owner, warning);
    warn(warning);
    return algorithms;
  }

  ProductWorkspace workspace() const { return {config.workspace, config.workspace_bytes}; }

  void run(CUstream_st* stream, const ProductShape& shape, const ProductPointers& at);
  Entry first_choice(const ProductShape& shape, const void* bias);
  bool take_from_file(Entry& entry);
  void tune(Entry& entry, CUstream_st* stream, const ProductPointers& at);
  float milliseconds(Entry& entry, CUstream_st* stream, const ProductPointers& at,
                     const cublasLtMatmulAlgo_t& algorithm);
  void keep(const Entry& entry);
};

void Libraries::State::run(CUstream_st* stream, const ProductShape& shape, const ProductPointers& at) {
  auto found = entries.find(shape);
  if (found == entries.end()) found = entries.emplace(shape, first_choice(shape, at.bias)).first;
  Entry& entry = found->second;
  if (!entry.settled && !capturing(stream, shape)) tune(entry, stream, at);
  check(entry.plan.run(handle.get(), stream, at, entry.algorithm, workspace()), "cublasLtMatmul", shape);
}

Libraries::State::Entry Libraries::State::first_choice(const ProductShape& shape, const void* bias) {
  Entry entry{MatmulPlan(shape, bias)};
  if (take_from_file(entry)) return entry;
  entry.algorithm = entry.plan.propose(handle.get(), config.workspace_bytes, 1).results[0].algo;
  entry.settled = !config.tune;
  return entry;
}

bool Libraries::State::take_from_file(Entry& entry) {
  const auto found = tuned.find(to_string(entry.plan.shape()));
  if (found == tuned.end()) return false;
  static_assert(sizeof(entry.algorithm.data) == sizeof(AlgorithmBits));
  std::memcpy(entry.algorithm.data, found->second.data(), sizeof(AlgorithmBits));
  entry.settled = entry.plan.runs(handle.get(), entry.algorithm, config.workspace_bytes);
  if (!entry.settled) {
    warn("the tuned algorithm of the product " + found->first + " in " + config.tuning_file + " cannot run here");
    tuned.erase(found);
  }
  return entry.settled;
}

/// Takes the fastest of the candidates. Results are written as the product would, but where it accumulates: those go to
/// memory of their own.
void Libraries::State::tune(Entry& entry, CUstream_st* stream, const ProductPointers& at) {
  const ProductShape& shape = entry.plan.shape();
  ProductPointers trial = at;
  DeviceMemory result;
  entry.settled = true;
  if (shape.accumulate) {
    void* memory = nullptr;
    const auto elements = static_cast<size_t>(shape.rows * shape.c_stride);
    const size_t element_bytes = shape.result == CUDA_R_32F ? sizeof(float) : sizeof(bfloat16);
    if (cudaMalloc(&memory, elements * element_bytes) != cudaSuccess) {
      cudaGetLastError();  // of the allocation; it must not show in a later call
      warn("no memory to tune the product " + to_string(shape));
      return;
    }
    result.reset(memory);
    trial.d = memory;
  }
  const Candidates candidates = entry.plan.propose(handle.get(), config.workspace_bytes, most_candidates);
  float best = std::numeric_limits<float>::infinity();
  for (int i = 0; i < candidates.count; ++i) {
    const cublasLtMatmulAlgo_t& algorithm = candidates.results[static_cast<size_t>(i)].algo;
    const float time = milliseconds(entry, stream, trial, algorithm);
    if (time >= best) continue;
    best = time;
    entry.algorithm = algorithm;
  }
  keep(entry);
}

/// Of `timed_runs` products; infinity where the algorithm refuses.
float Libraries::State::milliseconds(Entry& entry, CUstream_st* stream, const ProductPointers& at,
                                     const cublasLtMatmulAlgo_t& algorithm) {
  const ProductShape& shape = entry.plan.shape();
  const auto run_once = [&] { return entry.plan.run(handle.get(), stream, at, algorithm, workspace()); };
  if (run_once() != CUBLAS_STATUS_SUCCESS) return std::numeric_limits<float>::infinity();
  const Event start = create_event(shape);
  const Event stop = create_event(shape);
  check(cudaEventRecord(start.get(), stream), "cudaEventRecord", shape);
  for (int i = 0; i < timed_runs; ++i) gpu::check(run_once(), "cublasLtMatmul", shape);
  check(cudaEventRecord(stop.get(), stream), "cudaEventRecord", shape);
  check(cudaEventSynchronize(stop.get()), "cudaEventSynchronize", shape);
  float time = 0;
  check(cudaEventElapsedTime(&time, start.get(), stop.get()), "cudaEventElapsedTime", shape);
  return time;
}

/// Writes the choice down, beside those that other processes have written meanwhile.
void Libraries::State::keep(const Entry& entry) {
  AlgorithmBits bits{};
  std::memcpy(bits.data(), entry.algorithm.data, sizeof(bits));
  tuned[to_string(entry.plan.shape())] = bits;
  if (config.tuning_file.empty()) return;
  std::string damaged;  // has been said when the file was first read, or is mended by what is written now
  TunedAlgorithms all = read_tuning_file(config.tuning_file, owner, damaged);
  for (const auto& [name, algorithm] : tuned) all[name] = algorithm;
  const std::string problem = write_tuning_file(config.tuning_file, owner, all);
  if (!problem.empty()) config.tuning_file.clear();  // one warning is enough
  warn(problem);
}

Libraries::Libraries(const LibrariesConfig& config) : state_(std::make_unique<State>(config)) {}
Libraries::~Libraries() = default;

template <class T, class Y>
void Libraries::multiply(CUstream_st* stream, const MatrixProduct<T, Y>& p) {
  if (p.rows == 0 || p.cols == 0 || (p.depth == 0 && p.accumulate)) return;
  const ProductShape shape = shape_of(p);
  if (p.depth == 0) {
    if (shape.c_stride != p.cols || p.bias != nullptr) {
      throw std::invalid_argument("a product of no depth with a stride or a bias (" + to_string(shape) + ")");
    }
    const auto bytes = static_cast<size_t>(p.rows * p.cols) * sizeof(Y);
    check(cudaMemsetAsync(p.c, 0, bytes, stream), "cudaMemsetAsync", shape);
    return;
  }
  state_->run(stream, shape, {p.a, p.b, p.c, p.c, p.bias});
}

std::vector<std::string> Libraries::take_warnings() {
  return std::exchange(state_->warnings, {});
}

Libraries& libraries_of(const Context<Cuda>& on, const char* kernel) {
  if (on.libraries != nullptr) return *on.libraries;
  throw std::logic_error(std::string(kernel) + ": the context has no handles of CUDA's libraries");
}

template void Libraries::multiply(CUstream_st*, const MatrixProduct<float, float>&);
template void Libraries::multiply(CUstream_st*, const MatrixProduct<bfloat16, bfloat16>&);
template void Libraries::multiply(CUstream_st*, const MatrixProduct<bfloat16, float>&);

}  // namespace subspect::kernels::gpu
