// cuBLASLt, cuBLAS, cuSOLVER and NCCL, loaded when their first handle is made.
//
// Linked as usual they would be loaded at every start: 110 ms and 240 MB for `subspect --version`, and no start at all
// on a machine without them. So this file defines their functions itself. Each jumps through a slot with its arguments
// untouched; the functions that make handles load the library and fill its slots.
#include <cublasLt.h>
#include <cublas_v2.h>
#include <cusolverDn.h>
#include <dlfcn.h>
#ifdef SUBSPECT_NCCL_FILE
#include <nccl.h>
#endif

#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/cuda/loader/functions.h"

#ifndef __x86_64__
#error "the jumps below are written for x86-64: link the libraries as usual (kernels/CMakeLists.txt)"
#endif

namespace {

// The slots' first value: a function was called before a handle was made, which only a fault of the project can do.
extern "C" [[noreturn]] void subspect_library_not_loaded() {
  std::fputs("subspect: error: a function of cuBLAS, cuSOLVER or NCCL was called before its library was loaded\n",
             stderr);
  std::abort();
}

struct Slot {
  const char* name;
  void** target;
};

}  // namespace

// NOLINTBEGIN(bugprone-macro-parentheses): the argument is a name
#define SUBSPECT_DEFINE_SLOT(function)                                      \
  extern "C" {                                                              \
  [[gnu::visibility("hidden"), gnu::used]] void* subspect_slot_##function = \
      reinterpret_cast<void*>(&subspect_library_not_loaded);                \
  }                                                                         \
  asm(".pushsection .text\n"                                                \
      ".globl " #function                                                   \
      "\n"                                                                  \
      ".hidden " #function                                                  \
      "\n"                                                                  \
      ".type " #function ", @function\n" #function                          \
      ":\n"                                                                 \
      "  endbr64\n"                                                         \
      "  jmp *subspect_slot_" #function                                     \
      "(%rip)\n"                                                            \
      ".size " #function ", . - " #function                                 \
      "\n"                                                                  \
      ".popsection\n");
#define SUBSPECT_LIST_SLOT(function) Slot{#function, &subspect_slot_##function},
// NOLINTEND(bugprone-macro-parentheses)

SUBSPECT_CUBLASLT_FUNCTIONS(SUBSPECT_DEFINE_SLOT)
SUBSPECT_CUBLAS_FUNCTIONS(SUBSPECT_DEFINE_SLOT)
SUBSPECT_CUSOLVER_FUNCTIONS(SUBSPECT_DEFINE_SLOT)
#ifdef SUBSPECT_NCCL_FILE
SUBSPECT_NCCL_FUNCTIONS(SUBSPECT_DEFINE_SLOT)
#endif

namespace {

const Slot cublaslt_slots[] = {SUBSPECT_CUBLASLT_FUNCTIONS(SUBSPECT_LIST_SLOT)};
const Slot cublas_slots[] = {SUBSPECT_CUBLAS_FUNCTIONS(SUBSPECT_LIST_SLOT)};
const Slot cusolver_slots[] = {SUBSPECT_CUSOLVER_FUNCTIONS(SUBSPECT_LIST_SLOT)};

/// Where the dynamic linker looks by itself (LD_LIBRARY_PATH, the system), then the toolkits.
std::vector<std::string> candidates(const std::string& file) {
  std::vector<std::string> paths = {file};
  for (const char* variable : {"CUDA_HOME", "CUDA_PATH"}) {
    if (const char* home = std::getenv(variable)) paths.push_back(std::string(home) + "/lib64/" + file);
  }
  paths.push_back(std::string(SUBSPECT_CUDA_LIBRARY_DIR "/") + file);
  paths.push_back("/usr/local/cuda/lib64/" + file);
  return paths;
}

void* open_library(const std::string& file) {
  std::string reason;
  for (const std::string& path : candidates(file)) {
    if (void* library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) return library;
    if (const char* text = ::dlerror(); text != nullptr && reason.empty()) reason = text;
  }
  throw std::runtime_error(file + " cannot be loaded (" + reason +
                           "): install the CUDA libraries and NCCL, or put their folder into LD_LIBRARY_PATH");
}

void* find_function(void* library, const std::string& file, const char* name) {
  if (void* function = ::dlsym(library, name)) return function;
  throw std::runtime_error(file + " has no " + name +
                           ": it is not of the CUDA version that this program was built with");
}

/// Loads a library once: fills its slots and gives the function that makes its handle. It stays loaded.
class Library {
 public:
  Library(const char* file, const char* create, std::span<const Slot> slots)
      : file_(file), create_(create), slots_(slots) {}

  void* load() {
    const std::lock_guard lock(mutex_);
    if (function_ != nullptr) return function_;
    void* library = open_library(file_);
    for (const Slot& slot : slots_) *slot.target = find_function(library, file_, slot.name);
    return function_ = find_function(library, file_, create_);
  }

 private:
  std::string file_;
  const char* create_;
  std::span<const Slot> slots_;
  std::mutex mutex_;
  void* function_ = nullptr;
};

}  // namespace

// The creators may throw std::runtime_error: their callers are this project's C++.

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  static Library library(SUBSPECT_CUBLASLT_FILE, "cublasLtCreate", cublaslt_slots);
  return reinterpret_cast<decltype(&cublasLtCreate)>(library.load())(handle);
}

size_t cublasLtGetVersion() {
  static Library library(SUBSPECT_CUBLASLT_FILE, "cublasLtGetVersion", {});
  return reinterpret_cast<decltype(&cublasLtGetVersion)>(library.load())();
}

cublasStatus_t cublasCreate_v2(cublasHandle_t* handle) {
  static Library library(SUBSPECT_CUBLAS_FILE, "cublasCreate_v2", cublas_slots);
  return reinterpret_cast<decltype(&cublasCreate_v2)>(library.load())(handle);
}

cusolverStatus_t cusolverDnCreate(cusolverDnHandle_t* handle) {
  static Library library(SUBSPECT_CUSOLVER_FILE, "cusolverDnCreate", cusolver_slots);
  return reinterpret_cast<decltype(&cusolverDnCreate)>(library.load())(handle);
}

#ifdef SUBSPECT_NCCL_FILE
namespace {

const Slot nccl_slots[] = {SUBSPECT_NCCL_FUNCTIONS(SUBSPECT_LIST_SLOT)};

}  // namespace

// Rank 0 begins with the one, the other ranks with the other.
ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  static Library library(SUBSPECT_NCCL_FILE, "ncclGetUniqueId", nccl_slots);
  return reinterpret_cast<decltype(&ncclGetUniqueId)>(library.load())(id);
}

ncclResult_t ncclCommInitRank(ncclComm_t* comm, int ranks, ncclUniqueId id, int rank) {
  static Library library(SUBSPECT_NCCL_FILE, "ncclCommInitRank", nccl_slots);
  return reinterpret_cast<decltype(&ncclCommInitRank)>(library.load())(comm, ranks, id, rank);
}
#endif

cusolverStatus_t cusolverGetVersion(int* version) {
  static Library library(SUBSPECT_CUSOLVER_FILE, "cusolverGetVersion", {});
  return reinterpret_cast<decltype(&cusolverGetVersion)>(library.load())(version);
}
