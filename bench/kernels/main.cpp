// Benchmarks of every kernel of kernels/registry.h at the sizes of models, on the CPU or a GPU. Each result is compared
// with its definition in double; then the kernel is timed, and the bytes and flops that the registry declares are
// related to the peaks of copying and of matrix products measured in the same run.
#include <array>

#include "bench/kernels/bench.h"
#include "bench/shapes.h"
#include "runtime/error.h"

namespace subspect::bench {
namespace {

constexpr std::string_view usage =
    "bench_kernels: every kernel at the sizes of models.\n\n"
    "  --models=LIST      of bench/shapes; on a GPU 0.5b,1.5b,3b,7b, on the CPU tiny\n"
    "  --dtypes=LIST      float32, bfloat16; on a GPU bfloat16 unless given\n"
    "  --tokens=N         of matrix products and attention\n";

std::vector<KernelCase> all_cases() {
  std::vector<KernelCase> all;
  for (const auto cases :
       {row_cases(), attention_cases(), product_cases(), optimizer_cases(), sampling_cases(), linalg_cases()}) {
    all.insert(all.end(), cases.begin(), cases.end());
  }
  return all;
}

/// A kernel that nobody measures is a mistake of this program.
void require_all_measured(const Session& session) {
  for (const kernels::KernelInfo& kernel : kernels::kernels()) {
    runtime::require(session.measured(kernel.name) || session.exit_code() != 0, "bench_kernels",
                     "every kernel of the registry must be measured. Received none for {}.", kernel.name);
  }
}

int run(Arguments& arguments) {
  Session session("kernels", arguments);
  const ModelChoice choice =
      take_models(session, arguments, "tiny", session.on_gpu() ? "bfloat16" : "float32,bfloat16");
  const int64_t tokens = arguments.number("tokens", session.quick() ? 32 : session.on_gpu() ? 8192 : 512);
  arguments.finish();
  for (const std::string& name : choice.models) {
    const model::DecoderConfig config = read_shape(name);
    for (const KernelCase& kernel : all_cases()) {
      if (!session.wants(kernel.kernel)) continue;
      const std::vector<DType> dtypes = kernel.float32_only ? std::vector{DType::float32} : choice.dtypes;
      for (const DType dtype : dtypes) kernel.measure({session, name, config, dtype, tokens});
    }
  }
  if (!session.filtered()) require_all_measured(session);
  return session.exit_code();
}

}  // namespace
}  // namespace subspect::bench

int main(int argc, char** argv) {
  using namespace subspect::bench;  // NOLINT(google-build-using-namespace): the program is this file
  return run_program("bench_kernels", std::string(usage) + std::string(common_usage), argc, argv, run);
}
