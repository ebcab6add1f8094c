// subspect report: the page and plots of a run directory, made again from its tables.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>

#include "experiments/report/report.h"
#include "tools/cli/commands.h"

namespace subspect::cli {

void add_report(CLI::App& app, Invocation& invocation) {
  CLI::App* command = app.add_subcommand("report", "make report.html and its plots from the tables of a run");
  const auto directory = std::make_shared<std::string>();
  command->add_option("run", *directory, "a run directory")->required()->type_name("RUN_DIR");
  command->footer("Example:\n  subspect report runs/quickstart");
  command->callback([directory, &invocation] {
    invocation.action = [directory] {
      experiments::write_report(*directory);
      fmt::print("{}\n", (std::filesystem::path(*directory) / "report.html").string());
      return 0;
    };
  });
}

}  // namespace subspect::cli
