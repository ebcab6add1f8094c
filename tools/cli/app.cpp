// The command line as a whole: every command, in the order of `subspect --help`.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "experiments/build_info.h"
#include "tools/cli/commands.h"

namespace subspect::cli {

std::unique_ptr<CLI::App> make_app(Invocation& invocation) {
  auto app = std::make_unique<CLI::App>(
      "Fine-tunes Llama and Qwen models and measures the subspaces of their weight updates and activations.",
      "subspect");
  app->set_version_flag("--version", fmt::format("subspect {} ({}, {})", experiments::version(),
                                                 experiments::git_hash(), experiments::compiler()));
  app->add_flag("-v,--verbose", invocation.verbose, "say more, also about errors");
  app->require_subcommand(1);
  app->fallthrough();
  add_run(*app, invocation);
  add_report(*app, invocation);
  add_config(*app, invocation);
  add_list(*app, invocation);
  add_inspect(*app, invocation);
  add_spectrum(*app, invocation);
  add_generate(*app, invocation);
  add_logits(*app, invocation);
  add_tokenize(*app, invocation);
  add_detokenize(*app, invocation);
  add_tokenizer(*app, invocation);
  add_doctor(*app, invocation);
  add_completion(*app, invocation);
  app->footer(
      "Examples:\n"
      "  subspect run configs/quickstart.yaml          run a study; the same command again goes on\n"
      "  subspect run study.yaml --dry-run             check everything and show the plan\n"
      "  subspect config finetune > finetune.yaml      start a configuration\n"
      "  subspect generate --model DIR < prompts.jsonl complete prompts\n"
      "  subspect doctor                               what this machine has and lacks\n\n"
      "`subspect COMMAND --help` has examples of each command. Exit codes: 0 done, 1 failed, 2 usage or "
      "configuration,\n"
      "130 interrupted (the same command goes on).");
  return app;
}

}  // namespace subspect::cli
