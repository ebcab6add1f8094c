// subspect run: any experiment or study; the same command again resumes it.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "experiments/launch.h"
#include "experiments/report/report.h"
#include "runtime/comm/world.h"
#include "runtime/error.h"
#include "runtime/interrupt.h"
#include "runtime/memory.h"
#include "tools/cli/commands.h"
#include "tools/cli/common.h"
#include "tools/cli/launch_ranks.h"

namespace subspect::cli {

namespace {

struct RunOptions {
  std::string config;
  std::vector<std::string> overrides;
  std::string out;
  DeviceOptions device;
  bool dry_run = false;
  int64_t device_memory = 0;    // assumed; 0: of the device that is there
  double device_teraflops = 0;  // assumed with it
  std::string assume;           // folder of config.json by hub id
  bool overwrite = false;
  int ranks = 1;
};

experiments::PlanContext plan_context(const runtime::Stream& stream, runtime::Log& log) {
  experiments::PlanContext context;
  context.device = stream.device();
  context.device_memory = runtime::total_memory(stream.device());
  context.threads = stream.threads();
  context.log = &log;
  return context;
}

/// Of a device that need not be there.
experiments::PlanContext assumed_context(const RunOptions& options, runtime::Log& log) {
  experiments::PlanContext context;
  const bool gpu = options.device.device == "auto" || options.device.device.starts_with("cuda");
  context.device = {gpu ? runtime::DeviceType::cuda : runtime::DeviceType::cpu, 0};
  context.device_memory = options.device_memory;
  context.flops_per_second = options.device_teraflops * 1e12;
  context.log = &log;
  return context;
}

experiments::PlanContext measured_context(const RunOptions& options, const runtime::comm::Node& node,
                                          runtime::Log& log) {
  const auto stream = open_stream(options.device, node);
  experiments::PlanContext context = plan_context(*stream, log);
  context.flops_per_second = experiments::measure_flops_per_second(*stream);
  return context;
}

int dry_run(const experiments::Job& job, const RunOptions& options, const runtime::comm::Communicator& ranks,
            runtime::Log& log) {
  experiments::PlanAssumptions assumed{.model_configs = options.assume, .missing = {}};
  experiments::PlanContext context =
      options.device_memory > 0 ? assumed_context(options, log) : measured_context(options, ranks.node(), log);
  context.ranks = std::max(options.ranks, ranks.size());
  if (!options.assume.empty()) context.assumed = &assumed;
  const experiments::Plan plan = job.experiment->plan(context);
  fmt::print("{:<22}{}\n{:<22}{}\n{}", "kind:", job.kind, "run directory:", job.options.path.string(),
             experiments::describe_plan(plan, context));
  for (const std::string& missing : assumed.missing) fmt::print("assumed: {}\n", missing);
  return 0;
}

/// Ctrl-C reaches every rank of `subspect run --nproc` as SIGUSR1; mpirun means the end by SIGTERM.
runtime::InterruptHandlers interrupt_handlers(const runtime::comm::Communicator& ranks) {
  if (ranks.alone()) return {};
  return {.terminate = runtime::comm::launch().launcher != "mpirun", .user = true, .announce = ranks.is_first()};
}

int run(const RunOptions& options, Invocation& invocation) {
  const bool assumed = options.device_memory > 0;  // then nothing is started
  if (options.ranks > 1 && runtime::comm::launch().ranks == 1 && !assumed) return launch_ranks(options.ranks);
  invocation.ranks = runtime::comm::join_ranks();
  runtime::comm::Communicator& ranks = *invocation.ranks;
  if (options.ranks > 1 && ranks.size() != options.ranks && !assumed) {
    throw runtime::UsageError(fmt::format("{} ranks are asked for, but {} started {}", options.ranks,
                                          runtime::comm::launch().launcher, ranks.size()),
                              "--nproc", "leave it out where a launcher starts the ranks");
  }
  Console console(invocation.verbose, !ranks.is_first());
  experiments::Job job = experiments::read_job(options.config, options.overrides, options.out);
  if (options.dry_run) return ranks.is_first() ? dry_run(job, options, ranks, console.log) : 0;
  const auto stream = open_stream(options.device, ranks.node());
  const ModelDownloads downloads(console);
  job.options.device = stream->device().to_string();
  job.options.threads = stream->threads();
  job.options.overwrite = options.overwrite;
  job.options.ranks = ranks.size();
  if (ranks.is_first()) {
    experiments::PlanContext context = plan_context(*stream, console.log);
    context.downloads = downloads;
    context.ranks = ranks.size();
    for (const std::string& warning : job.experiment->plan(context).warnings) console.log.warn("{}", warning);
  }
  runtime::install_interrupt_handlers(interrupt_handlers(ranks));
  const bool worked =
      run_in_directory(*job.experiment, job.options,
                       {*stream, console.log, console.progress, ranks.alone() ? nullptr : &ranks, downloads});
  if (!ranks.is_first()) return 0;
  if (!worked) console.log.info("this run is finished; --overwrite runs it again");
  if (worked) experiments::write_report(job.options.path);
  console.log.info("results and report.html are in {}", job.options.path.string());
  return 0;
}

}  // namespace

void add_run(CLI::App& app, Invocation& invocation) {
  CLI::App* command = app.add_subcommand("run", "run an experiment or a study; the same command again goes on");
  const auto options = std::make_shared<RunOptions>();
  command->add_option("config", options->config, "the YAML")->required()->type_name("CONFIG.yaml");
  command->add_option("--set", options->overrides, "override a key; may be repeated")
      ->type_name("a.b=value")
      ->allow_extra_args(false);
  command->add_option("--out", options->out, "the run directory; default: runs/<name of the YAML>")->type_name("DIR");
  add_device_options(*command, options->device);
  command->add_option("--nproc", options->ranks, "ranks that share the work: one per GPU, or processes on a CPU")
      ->type_name("N")
      ->check(CLI::Range(1, 4096));
  CLI::Option* dry_run =
      command->add_flag("--dry-run", options->dry_run, "check everything and print the plan: steps, memory, time");
  CLI::Option* memory =
      command
          ->add_option("--device-memory", options->device_memory,
                       "plan for a GPU (with --device cpu: a CPU) of so much memory, whether there is one or not")
          ->type_name("24GB")
          ->transform(CLI::AsSizeValue(true))
          ->needs(dry_run);
  command
      ->add_option(
          "--device-teraflops", options->device_teraflops,
          "with --device-memory: 10^12 operations a second of that device on matrix products, to estimate time")
      ->check(CLI::PositiveNumber)
      ->needs(memory);
  command
      ->add_option("--assume", options->assume,
                   "with --dry-run, plan before models and data are downloaded: DIR holds OWNER--NAME.json, the "
                   "config.json of the hub id OWNER/NAME; the plan ends with a list of what was missing")
      ->type_name("DIR")
      ->check(CLI::ExistingDirectory)
      ->needs(dry_run);
  command->add_flag("--overwrite", options->overwrite, "begin anew in a directory that holds an earlier run");
  command->footer(
      "Examples:\n"
      "  subspect run configs/quickstart.yaml\n"
      "  subspect run finetune.yaml --set optimizer.lr=2.0e-5 --set data.0.limit=100 --out runs/trial\n"
      "  subspect run study.yaml --nproc 4\n"
      "  subspect run study.yaml --dry-run --device-memory 80GB");
  command->callback(
      [options, &invocation] { invocation.action = [options, &invocation] { return run(*options, invocation); }; });
}

}  // namespace subspect::cli
