// `subspect`: parses the command line, runs one command, and turns every failure into one line and an exit code.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <new>
#include <thread>

#include "runtime/error.h"
#include "runtime/nearest.h"
#include "tools/cli/commands.h"

namespace {

using subspect::cli::Invocation;
using subspect::runtime::UsageError;

/// "subspect: error: WHAT (WHERE): WHAT TO DO", always one line.
int report_error(std::string message, int exit_code) {
  for (char& c : message) {
    if (c == '\n' || c == '\r') c = ' ';
  }
  fmt::print(stderr, "subspect: error: {}\n", message);
  return exit_code;
}

/// The command that was given: the innermost subcommand.
const CLI::App& given_command(const CLI::App& app) {
  const CLI::App* command = &app;
  while (!command->get_subcommands().empty()) command = command->get_subcommands().front();
  return *command;
}

std::string full_name(const CLI::App& command) {
  if (command.get_parent() == nullptr) return command.get_name();
  return full_name(*command.get_parent()) + " " + command.get_name();
}

std::vector<std::string> option_names(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  if (command.get_parent() != nullptr) {
    for (std::string& name : option_names(*command.get_parent())) names.push_back(std::move(name));
  }
  return names;
}

std::vector<std::string> command_names(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::App* sub : command.get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(sub->get_name());
  }
  return names;
}

UsageError unexpected_argument(const CLI::App& command, const std::string& argument) {
  const bool is_option = argument.starts_with("-");
  const std::string word = argument.substr(0, argument.find('='));
  const bool wants_command = !is_option && !command_names(command).empty();
  const std::string near = subspect::runtime::nearest(word, is_option ? option_names(command) : command_names(command));
  const std::string what = is_option ? "unknown option" : wants_command ? "unknown command" : "unexpected argument";
  return {fmt::format("{} '{}'", what, word), full_name(command),
          near.empty() ? fmt::format("see `{} --help`", full_name(command)) : fmt::format("did you mean '{}'?", near)};
}

/// What went wrong in parsing, in our form.
UsageError translate(const CLI::App& app, const CLI::ParseError& error, const std::vector<std::string>& remaining) {
  const CLI::App& command = given_command(app);
  if (!remaining.empty()) return unexpected_argument(command, remaining.front());
  std::string message = error.what();
  if (!message.empty() && message.back() == '.') message.pop_back();
  if (message == "A subcommand is required") message = "a command is missing";
  return {message, full_name(command), fmt::format("see `{} --help`", full_name(command))};
}

/// The arguments that no option or command took, found by parsing once more with everything allowed.
std::vector<std::string> leftover_arguments(int argc, char** argv) {
  Invocation ignored;
  const auto app = subspect::cli::make_app(ignored);
  const auto allow = [](const auto& self, CLI::App& command) -> void {
    command.allow_extras();
    command.require_subcommand(0);
    for (CLI::Option* option : command.get_options()) option->required(false);
    for (CLI::App* sub : command.get_subcommands([](CLI::App*) { return true; })) self(self, *sub);
  };
  allow(allow, *app);
  try {
    app->parse(argc, argv);
  } catch (const CLI::Error&) {
    return {};
  }
  return app->remaining(true);
}

int run_command(int argc, char** argv, Invocation& invocation) {
  const auto app = subspect::cli::make_app(invocation);
  try {
    app->parse(argc, argv);
  } catch (const CLI::Success& success) {  // --help, --version: printed to standard output
    return app->exit(success);
  } catch (const CLI::ParseError& error) {
    throw translate(*app, error, leftover_arguments(argc, argv));
  }
  return invocation.action();
}

/// The same for a command that several ranks run. An interruption is agreed upon; any other failure ends them all.
int fail(Invocation& invocation, const std::string& message, int exit_code) {
  constexpr auto head_start = std::chrono::seconds(2);
  constexpr int interrupted = 130;
  subspect::runtime::comm::Communicator* ranks = invocation.ranks.get();
  if (ranks == nullptr || ranks->alone()) return report_error(message, exit_code);
  if (exit_code == interrupted) {
    if (ranks->is_first()) report_error(message, exit_code);
    invocation.ranks.reset();  // waits for the others
    return exit_code;
  }
  // Where all ranks fail alike, rank 0 says so and ends the others in their sleep.
  if (!ranks->is_first()) std::this_thread::sleep_for(head_start);
  report_error(ranks->is_first() ? message : fmt::format("rank {}: {}", ranks->rank(), message), exit_code);
  ranks->abort(exit_code);
  return exit_code;
}

/// Output that could not be written (a full disk, a closed pipe) must not look like success.
int flush_output(int exit_code) {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return exit_code;
  return report_error("cannot write to standard output: free space on its disk, or read all of it", 1);
}

}  // namespace

int main(int argc, char** argv) {
  Invocation invocation;
  try {
    return flush_output(run_command(argc, argv, invocation));
  } catch (const subspect::runtime::Error& error) {
    if (invocation.verbose) {
      fmt::print(stderr, "  what:  {}\n  where: {}\n  to do: {}\n", error.what_happened(), error.where(),
                 error.advice());
    }
    return fail(invocation, error.what(), error.exit_code());
  } catch (const std::bad_alloc&) {
    return fail(invocation, "out of memory: use a smaller model or micro-batch, or a machine with more memory", 1);
  } catch (const std::filesystem::filesystem_error& error) {
    return fail(
        invocation,
        fmt::format("{} ({}): check the path and its permissions", error.code().message(), error.path1().string()), 1);
  } catch (const std::exception& error) {
    return fail(invocation,
                fmt::format("{} (unexpected): this is a mistake in the program; please report it with the command",
                            error.what()),
                1);
  }
}
