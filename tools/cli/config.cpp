// subspect config: a documented YAML of a kind of run.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "experiments/launch.h"
#include "experiments/registry.h"
#include "runtime/error.h"
#include "tools/cli/commands.h"

namespace subspect::cli {

namespace {

int print_config(const std::string& kind, bool all) {
  if (all) {
    fmt::print("{}", experiments::configuration_page());
  } else if (kind.empty()) {
    throw runtime::UsageError("the kind of run is missing", "subspect config", "see `subspect list experiments`");
  } else {
    fmt::print("{}", experiments::documented_yaml(kind));
  }
  return 0;
}

}  // namespace

void add_config(CLI::App& app, Invocation& invocation) {
  CLI::App* command = app.add_subcommand("config", "print a documented YAML with every key, type and default");
  const auto kind = std::make_shared<std::string>();
  const auto all = std::make_shared<bool>(false);
  command->add_option("kind", *kind, "the kind of run (`subspect list experiments`)")->type_name("KIND");
  command->add_flag("--all", *all, "docs/configuration.md: every kind");
  command->footer("Example:\n  subspect config finetune > finetune.yaml");
  command->callback(
      [kind, all, &invocation] { invocation.action = [kind, all] { return print_config(*kind, *all); }; });
}

}  // namespace subspect::cli
