// Reading, planning and running of one job.
#include "experiments/launch.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <limits>

#include "experiments/config/config.h"
#include "experiments/deviations.h"
#include "experiments/registry.h"
#include "experiments/study.h"
#include "runtime/error.h"
#include "runtime/hardware.h"
#include "runtime/linalg/products.h"
#include "runtime/ops/linear.h"
#include "runtime/random.h"

namespace subspect::experiments {

namespace fs = std::filesystem;
using runtime::UsageError;

namespace {

int64_t seed_of(const Node& resolved) {
  int64_t seed = -1;
  const Node* node = resolved.find("seed");
  if (node != nullptr) reads_as_integer(node->text, seed);
  return seed;
}

std::string format_bytes(int64_t bytes) {
  if (bytes >= 1'000'000'000) return fmt::format("{:.2f} GB", static_cast<double>(bytes) / 1e9);
  if (bytes >= 1'000'000) return fmt::format("{:.1f} MB", static_cast<double>(bytes) / 1e6);
  return fmt::format("{} b", (bytes + 999) / 1000);
}

/// Closes the run directory with what happened and passes the exception on.
void run_recorded(Experiment& experiment, RunContext& context) {
  try {
    experiment.run(context);
  } catch (const runtime::Interrupted& stop) {
    context.dir.close(RunDir::Status::interrupted, stop.what());
    throw;
  } catch (const std::exception& error) {
    try {
      context.dir.close(RunDir::Status::failed, error.what());
    } catch (const std::exception& second) {
      context.log.error("cannot record the failure: {}", second.what());
    }
    throw;
  }
  context.dir.close(RunDir::Status::finished);
}

}  // namespace

Job read_job(const fs::path& yaml, const std::vector<std::string>& overrides, const fs::path& out) {
  Node root = load_document(yaml, overrides);
  const Node* kind = root.find("kind");
  if (kind == nullptr || kind->kind != Node::Kind::scalar) {
    throw UsageError("the key 'kind' is missing: what is run", yaml.string(), "add kind: finetune (or another)");
  }
  Job job;
  job.kind = kind->text;
  job.experiment = make_experiment(kind->text, kind->where());
  job.options.path = fs::absolute(out.empty() ? fs::path("runs") / yaml.stem() : out).lexically_normal();
  job.options.kind = job.kind;
  ReadOptions options;
  if (job.kind == "study") options = study_read_options(root, job.options.path);
  read_fields(
      root, [&](Fields& f) { job.experiment->visit(f); }, options);
  if (const auto* study = dynamic_cast<const Study*>(job.experiment.get()); study != nullptr && study->repeats()) {
    root = study->with_copies(root);
    job.experiment = make_experiment(job.kind, root.where());
    read_fields(
        root, [&](Fields& f) { job.experiment->visit(f); }, study_read_options(root, job.options.path));
  }
  job.options.config_yaml = resolved_yaml(*job.experiment);
  job.options.identity = resolved_yaml(*job.experiment, true);
  job.options.seed = seed_of(parse_document(job.options.config_yaml));
  if (job.kind == "study") {
    job.options.identity = "study";  // its stages decide for themselves what is done again
    job.options.go_on_finished = true;
  }
  return job;
}

std::string resolved_yaml(Experiment& experiment, bool identity) {
  WriteOptions options;
  options.skip_cosmetic = identity;
  return write_yaml(write_fields(
      experiment.kind(), [&](Fields& f) { experiment.visit(f); }, options));
}

std::string documented_yaml(std::string_view kind) {
  return document_fields(kind, [&](Fields& f) { make_experiment(kind, "subspect config")->visit(f); });
}

std::string configuration_page() {
  std::string page =
      "# Configuration\n\n"
      "Every key of every kind of run, with its type and default, as `subspect config KIND` prints it. This page is\n"
      "written by the program (`subspect config --all > docs/configuration.md`), and a test checks that it is up to "
      "date.\n\n"
      "A line `# text [type]` documents the key below it; `#key: value` (no space) is a key that applies only under "
      "the\n"
      "condition named above it, or an example entry. Besides these keys every YAML may have `extends: other.yaml` (or "
      "a\nlist), which is merged below it; `${NAME}` and `${NAME:-default}` are expanded from the environment. "
      "Relative "
      "paths\nstart from the folder of the YAML that holds them; `subspect run --set a.b=value` overrides a key.\n";
  for (const ExperimentInfo& info : experiment_kinds()) {
    page += fmt::format("\n## {}\n\n{}.\n\n```yaml\n{}```\n", info.kind, info.summary, documented_yaml(info.kind));
  }
  return page;
}

namespace {

/// Seconds that one product of square bfloat16 matrices takes, the best of three.
double time_product(runtime::Stream& stream, int64_t size) {
  using runtime::Tensor;
  const Tensor x = Tensor::empty(stream, {size, size}, runtime::DType::bfloat16);
  runtime::Parameter weight;
  weight.value = Tensor::empty(stream, {size, size}, runtime::DType::bfloat16);
  runtime::fill_normal(stream, x, 1.0, runtime::Philox(0));
  runtime::fill_normal(stream, weight.value, 1.0, runtime::Philox(1));
  runtime::ops::linear({stream}, {x}, weight);  // chooses how to multiply
  stream.synchronize();
  double best = std::numeric_limits<double>::infinity();
  for (int round = 0; round < 3; ++round) {
    const auto begin = std::chrono::steady_clock::now();
    runtime::ops::linear({stream}, {x}, weight);
    stream.synchronize();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  return best;
}

double flops_of_gpu(runtime::Stream& stream) {
  constexpr int64_t largest = 8192;
  constexpr double enough = 1e-3;  // seconds, beside which a launch takes little
  for (int64_t size = 1024;; size *= 2) {
    const double seconds = time_product(stream, size);
    if (seconds > enough || size == largest) {
      const auto n = static_cast<double>(size);
      return 2.0 * n * n * n / seconds;
    }
  }
}

}  // namespace

double measure_flops_per_second(runtime::Stream& stream) {
  constexpr int64_t size = 768;
  if (stream.device().type != runtime::DeviceType::cpu) return flops_of_gpu(stream);
  const std::vector<float> a(size * size, 0.5F);
  std::vector<float> c(size * size);
  namespace linalg = runtime::linalg;
  const linalg::FloatMatrix matrix(a.data(), size, size);
  double best = 0;
  for (int round = 0; round < 3; ++round) {
    const auto begin = std::chrono::steady_clock::now();
    linalg::multiply(stream, linalg::Op::none, matrix, linalg::Op::none, matrix,
                     linalg::MatrixRef<float>(c.data(), size, size));
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    best = std::max(best, 2.0 * size * size * size / seconds);
  }
  return best;
}

std::string describe_plan(const Plan& plan, const PlanContext& context) {
  std::string text;
  const auto line = [&](std::string_view name, const std::string& value) {
    text += fmt::format("{:<22}{}\n", std::string(name) + ":", value);
  };
  line("device", context.device.to_string() + (context.ranks > 1 ? fmt::format(", one of {}", context.ranks) : ""));
  if (plan.parameters > 0) line("parameters", runtime::format_count(static_cast<double>(plan.parameters)));
  for (const auto& fact : plan.facts) line(fact.first, fact.second);
  const int64_t memory_bytes = context.device_memory;
  if (plan.device_bytes > 0) {
    line("memory on " + context.device.to_string(),
         format_bytes(plan.device_bytes) + (memory_bytes > 0 ? " of " + format_bytes(memory_bytes) : ""));
  }
  for (const auto& [use, bytes] : plan.device_uses) {
    if (bytes > 0) text += fmt::format("  {:<28}{:>10}\n", use, format_bytes(bytes));
  }
  if (plan.host_bytes > 0) line("memory besides", format_bytes(plan.host_bytes));
  if (plan.disk_bytes > 0) line("disk", format_bytes(plan.disk_bytes));
  if (plan.flops > 0) line("operations", fmt::format("{:.3g} flop", plan.flops));
  const bool estimable = plan.flops > 0 && context.flops_per_second > 0;
  const double seconds = plan.seconds > 0 || !estimable ? plan.seconds : plan.flops / context.flops_per_second;
  if (seconds > 0) line("estimated time", runtime::format_duration(seconds));
  for (size_t index = 0; index < plan.steps.size(); ++index) {
    text += fmt::format("{:>3}. {}\n", index + 1, plan.steps[index]);
  }
  for (const std::string& warning : plan.warnings) text += "warning: " + warning + "\n";
  if (memory_bytes > 0 && plan.device_bytes > memory_bytes) {
    text += fmt::format("warning: this exceeds the memory of {}\n", context.device.to_string());
  }
  return text;
}

namespace {

/// What the ranks that wait are told when rank 0 is done.
enum class Ended : int64_t { finished, interrupted };

/// Runs what only rank 0 can run, and wakes the others when it has ended. An error ends all of them elsewhere.
void run_alone(Experiment& experiment, RunContext& context, runtime::comm::Communicator& ranks) {
  const auto tell = [&](Ended ended) {
    ranks.barrier();
    ranks.agree(static_cast<int64_t>(ended));
  };
  try {
    run_recorded(experiment, context);
  } catch (const runtime::Interrupted&) {
    tell(Ended::interrupted);
    throw;
  }
  tell(Ended::finished);
}

/// What the ranks other than 0 do.
bool follow_in_directory(Experiment& experiment, const RunDirOptions& options, const Workplace& workplace) {
  runtime::comm::Communicator& ranks = *workplace.ranks;
  if (ranks.agree(0) == 0) return false;
  RunDir dir = RunDir::follow(options);
  runtime::io::MetricsWriter metrics;
  RunContext context{dir,     workplace.stream, workplace.log,      workplace.progress,
                     metrics, workplace.ranks,  workplace.downloads};
  if (experiment.uses_ranks()) {
    experiment.run(context);
    return true;
  }
  ranks.barrier();
  if (static_cast<Ended>(ranks.agree(0)) == Ended::interrupted) context.stop();
  return true;
}

}  // namespace

bool run_in_directory(Experiment& experiment, const RunDirOptions& options, const Workplace& workplace) {
  runtime::comm::Communicator* ranks = workplace.ranks;
  if (ranks != nullptr && !ranks->is_first()) return follow_in_directory(experiment, options, workplace);
  RunDir dir = RunDir::open(options);
  const bool to_do = !dir.was_finished() || options.go_on_finished;
  if (ranks != nullptr) ranks->agree(to_do ? 1 : 0);
  if (!to_do) return false;
  workplace.log.add_file(dir.path() / "log.txt");
  struct RemoveLogFile {
    runtime::Log& log;
    ~RemoveLogFile() { log.remove_file(); }
  } remove_log_file{workplace.log};
  runtime::io::MetricsWriter metrics(dir.path() / "metrics.jsonl", dir.path() / "tensorboard");
  const bool shared = ranks != nullptr && experiment.uses_ranks();
  RunContext context{dir,     workplace.stream,         workplace.log,      workplace.progress,
                     metrics, shared ? ranks : nullptr, workplace.downloads};
  workplace.log.info("{} {} in {}", dir.resumed() ? "going on with" : "running", options.kind, dir.path().string());
  if (options.kind != "study") {  // its stages say so themselves
    for (const std::string& deviation : deviations_of(options.config_yaml)) {
      workplace.log.warn("a deviation from the method, as asked for: {}", deviation);
    }
  }
  if (ranks == nullptr || shared) {
    run_recorded(experiment, context);
  } else {
    run_alone(experiment, context, *ranks);
  }
  return true;
}

}  // namespace subspect::experiments
