// subspect spectrum: singular values of the difference of two checkpoints, tensor by tensor.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "experiments/subspace/spectrum_table.h"
#include "experiments/subspace/weights.h"
#include "experiments/table.h"
#include "model/hub.h"
#include "tools/cli/commands.h"
#include "tools/cli/common.h"

namespace subspect::cli {

namespace {

struct SpectrumOptions {
  std::string a, b, output;
  std::vector<std::string> patterns = {"*"};
  int threads = 0;
};

int spectrum(const SpectrumOptions& options) {
  const auto stream = runtime::Stream::open(runtime::Device{}, options.threads);
  using experiments::subspace::WeightSource;
  Console console(false);
  const ModelDownloads downloads(console);
  const auto a = WeightSource::open("A", model::find_model(options.a, downloads));
  const auto b = WeightSource::open("B", model::find_model(options.b, downloads));
  experiments::subspace::SpectrumOptions wanted;
  wanted.globs = options.patterns;
  const experiments::Table table = experiments::subspace::spectrum_table(*stream, a, b, wanted);
  if (options.output.empty() || options.output == "-") {
    fmt::print("{}", table.to_csv());
  } else {
    runtime::io::write_file_atomically(options.output, table.to_csv());
  }
  return 0;
}

}  // namespace

void add_spectrum(CLI::App& app, Invocation& invocation) {
  CLI::App* command = app.add_subcommand("spectrum", "norms and ranks of B - A, tensor by tensor, as CSV");
  const auto options = std::make_shared<SpectrumOptions>();
  command->add_option("a", options->a, "a model directory or hub id")->required()->type_name("A");
  command->add_option("b", options->b, "another of the same architecture")->required()->type_name("B");
  command->add_option("--pattern", options->patterns, "names of tensors; may be repeated")
      ->capture_default_str()
      ->allow_extra_args(false)
      ->type_name("GLOB");
  command->add_option("--output", options->output, "default: standard output")->type_name("F.csv");
  command->add_option("--threads", options->threads, "0 = one per core")->check(CLI::Range(0, 4096));
  command->footer("Example:\n  subspect spectrum base/ aligned/ --pattern '*.q_proj.weight'");
  command->callback([options, &invocation] { invocation.action = [options] { return spectrum(*options); }; });
}

}  // namespace subspect::cli
