// subspect list: what is registered.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "experiments/judge/judge.h"
#include "experiments/registry.h"
#include "kernels/registry.h"
#include "model/architectures/architecture.h"
#include "model/prompts.h"
#include "tools/cli/commands.h"

namespace subspect::cli {

namespace {

void line(std::string_view name, std::string_view text) {
  fmt::print("{:<16}{}\n", name, text);
}

void list_architectures() {
  for (const model::Architecture* architecture : model::architectures()) {
    line(architecture->model_type, architecture->summary);
  }
}

void list_experiments() {
  for (const auto& info : experiments::experiment_kinds()) line(info.kind, info.summary);
}

void list_judges() {
  for (const auto& info : experiments::judges()) line(info.name, info.doc);
}

void list_prompt_formats() {
  for (const auto& info : model::prompt_formats()) line(info.name, info.description);
}

void list_kernels() {
  for (const auto& kernel : kernels::kernels()) {
    const std::string_view devices = kernel.cpu && kernel.cuda ? "cpu, cuda" : kernel.cpu ? "cpu" : "cuda";
    fmt::print("{:<36}{:<12}{:<20}{}\n", kernel.name, devices, kernel.dtypes, kernel.summary);
  }
}

}  // namespace

void add_list(CLI::App& app, Invocation& invocation) {
  CLI::App* command = app.add_subcommand("list", "list what is registered");
  command->require_subcommand(1);
  const auto add = [&](const char* name, const char* description, void (*print)()) {
    command->add_subcommand(name, description)->callback([&invocation, print] {
      invocation.action = [print] {
        print();
        return 0;
      };
    });
  };
  add("architectures", "model families", list_architectures);
  add("experiments", "kinds of runs", list_experiments);
  add("judges", "who scores harmfulness", list_judges);
  add("prompt-formats", "how prompts are written", list_prompt_formats);
  add("kernels", "computational kernels, their devices and element types", list_kernels);
  command->footer("Example:\n  subspect list experiments");
}

}  // namespace subspect::cli
