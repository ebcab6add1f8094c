// The commands of `subspect`, one file each. A command declares its options and leaves what it does in Invocation.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runtime/comm/communicator.h"

namespace CLI {
class App;
}

namespace subspect::cli {

/// What the command line asks for.
struct Invocation {
  std::function<int()> action;  ///< set by the command that was given; returns the exit code
  bool verbose = false;
  std::shared_ptr<runtime::comm::Communicator>
      ranks;  ///< that run the command together; set by one that has them do so
};

void add_run(CLI::App& app, Invocation& invocation);
void add_tokenize(CLI::App& app, Invocation& invocation);
void add_detokenize(CLI::App& app, Invocation& invocation);
void add_tokenizer(CLI::App& app, Invocation& invocation);
void add_logits(CLI::App& app, Invocation& invocation);
void add_generate(CLI::App& app, Invocation& invocation);
void add_spectrum(CLI::App& app, Invocation& invocation);
void add_inspect(CLI::App& app, Invocation& invocation);
void add_report(CLI::App& app, Invocation& invocation);
void add_config(CLI::App& app, Invocation& invocation);
void add_list(CLI::App& app, Invocation& invocation);
void add_doctor(CLI::App& app, Invocation& invocation);
void add_completion(CLI::App& app, Invocation& invocation);

/// The whole command line, for parsing and for the completion scripts.
std::unique_ptr<CLI::App> make_app(Invocation& invocation);

}  // namespace subspect::cli
