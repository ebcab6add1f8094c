// subspect completion: completion scripts, generated from the command line itself.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>

#include "experiments/registry.h"
#include "tools/cli/commands.h"

namespace subspect::cli {

namespace {

struct Command {
  std::string path;  ///< "tokenizer train"; empty for the program itself
  std::string description;
  std::vector<std::pair<std::string, std::string>> options;  ///< "--model" and its description
  std::vector<std::string> words;                            ///< subcommands and fixed arguments
};

void collect(const CLI::App& app, const std::string& path, std::vector<Command>& commands) {
  Command command{path, app.get_description(), {}, {}};
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) {
      command.options.emplace_back("--" + name, option->get_description());
    }
  }
  if (path == "config") command.words = experiments::experiment_names();
  const auto subcommands = app.get_subcommands([](const CLI::App*) { return true; });
  for (const CLI::App* sub : subcommands) command.words.push_back(sub->get_name());
  commands.push_back(std::move(command));
  for (const CLI::App* sub : subcommands) {
    collect(*sub, path.empty() ? sub->get_name() : path + " " + sub->get_name(), commands);
  }
}

std::vector<Command> all_commands() {
  Invocation ignored;
  const auto app = make_app(ignored);
  std::vector<Command> commands;
  collect(*app, "", commands);
  return commands;
}

/// Words that an option takes, for those that take a few known ones.
const std::map<std::string, std::string>& option_words() {
  static const std::map<std::string, std::string> words = {
      {"--device", "auto cpu cuda"},
      {"--dtype", "float32 bfloat16"},
      {"--prompt-format", "raw alpaca chatml llama2 llama3"},
  };
  return words;
}

std::string join_words(const Command& command) {
  std::string text;
  for (const std::string& word : command.words) text += (text.empty() ? "" : " ") + word;
  for (const auto& option : command.options) text += (text.empty() ? "" : " ") + option.first;
  return text;
}

/// bash, and zsh through its bash compatibility.
std::string bash_script() {
  std::string script =
      "_subspect() {\n"
      "  local current=\"${COMP_WORDS[COMP_CWORD]}\" previous=\"${COMP_WORDS[COMP_CWORD-1]}\" path=\"\" word i\n"
      "  case \"$previous\" in\n";
  for (const auto& entry : option_words()) {
    script +=
        fmt::format("    {}) COMPREPLY=($(compgen -W \"{}\" -- \"$current\")); return ;;\n", entry.first, entry.second);
  }
  script +=
      "  esac\n"
      "  for ((i = 1; i < COMP_CWORD; ++i)); do\n"
      "    word=\"${COMP_WORDS[i]}\"\n"
      "    case \"$path $word\" in\n";
  for (const Command& command : all_commands()) {
    if (command.path.empty()) continue;
    const size_t space = command.path.rfind(' ');
    const std::string parent = space == std::string::npos ? "" : command.path.substr(0, space);
    const std::string name = space == std::string::npos ? command.path : command.path.substr(space + 1);
    script += fmt::format("      \"{} {}\") path=\"{}\" ;;\n", parent, name, command.path);
  }
  script +=
      "    esac\n"
      "  done\n"
      "  case \"$path\" in\n";
  for (const Command& command : all_commands()) {
    script += fmt::format("    \"{}\") COMPREPLY=($(compgen -W \"{}\" -- \"$current\")) ;;\n", command.path,
                          join_words(command));
  }
  script +=
      "  esac\n"
      "  [[ \"$current\" == -* || ${#COMPREPLY[@]} -gt 0 ]] || COMPREPLY=($(compgen -f -- \"$current\"))\n"
      "}\n"
      "complete -o filenames -o bashdefault -F _subspect subspect\n";
  return script;
}

std::string zsh_script() {
  return "#compdef subspect\nautoload -U +X bashcompinit && bashcompinit\n" + bash_script();
}

std::string quote_fish(const std::string& text) {
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' || c == '\\' ? std::string("\\") + c : std::string(1, c);
  return quoted + "'";
}

std::string fish_script() {
  std::string script;
  const auto commands = all_commands();
  for (const Command& command : commands) {
    const bool root = command.path.empty();
    std::string condition =
        root ? "" : " -n '__fish_seen_subcommand_from " + command.path.substr(command.path.rfind(' ') + 1) + "'";
    for (const std::string& word : command.words) {
      const auto found = std::find_if(commands.begin(), commands.end(), [&](const Command& other) {
        return other.path == (root ? word : command.path + " " + word);
      });
      const std::string description = found == commands.end() ? "" : " -d " + quote_fish(found->description);
      script += fmt::format("complete -c subspect{} -a {}{}\n", root ? " -n __fish_use_subcommand" : condition, word,
                            description);
    }
    for (const auto& option : command.options) {
      const auto words = option_words().find(option.first);
      script += fmt::format("complete -c subspect{} -l {}{} -d {}\n", condition, option.first.substr(2),
                            words == option_words().end() ? "" : " -x -a " + quote_fish(words->second),
                            quote_fish(option.second));
    }
  }
  return script;
}

}  // namespace

void add_completion(CLI::App& app, Invocation& invocation) {
  CLI::App* command = app.add_subcommand("completion", "print a completion script for a shell");
  command->require_subcommand(1);
  const auto add = [&](const char* shell, std::string (*script)()) {
    command->add_subcommand(shell, fmt::format("for {}", shell))->callback([&invocation, script] {
      invocation.action = [script] {
        fmt::print("{}", script());
        return 0;
      };
    });
  };
  add("bash", bash_script);
  add("zsh", zsh_script);
  add("fish", fish_script);
  command->footer(
      "Examples:\n"
      "  source <(subspect completion bash)\n"
      "  subspect completion fish > ~/.config/fish/completions/subspect.fish");
}

}  // namespace subspect::cli
