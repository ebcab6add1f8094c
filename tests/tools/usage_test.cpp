// The command line: help, mistakes in one line with exit code 2, lists and completion.
#include <gmock/gmock.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

#include "tests/tools/program.h"

namespace subspect::tests {
namespace {

using ::testing::HasSubstr;

class Usage : public ProgramTest {};

TEST_F(Usage, VersionAndHelpGoToStandardOutput) {
  const Result version = run({"--version"});
  EXPECT_EQ(version.exit_code, 0);
  EXPECT_THAT(version.out, ::testing::StartsWith("subspect "));
  for (const char* command : {"run", "tokenize", "detokenize", "tokenizer", "logits", "generate", "spectrum", "inspect",
                              "report", "config", "list", "doctor", "completion"}) {
    const Result help = run({command, "--help"});
    EXPECT_EQ(help.exit_code, 0) << command;
    EXPECT_THAT(help.out, HasSubstr("xample")) << command;
    EXPECT_EQ(help.err, "") << command;
    EXPECT_THAT(run({"--help"}).out, HasSubstr(command));
  }
}

TEST_F(Usage, MistakesAreOneLineAndExitWithTwo) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{}, "a command is missing (subspect): see `subspect --help`"},
      {{"tokenise"}, "unknown command 'tokenise' (subspect): did you mean 'tokenize'?"},
      {{"list", "experimnts"}, "unknown command 'experimnts' (subspect list): did you mean 'experiments'?"},
      {{"run", "a.yaml", "--dryrun"}, "unknown option '--dryrun' (subspect run): did you mean '--dry-run'?"},
      {{"generate", "--model", "m", "--temprature=1"},
       "unknown option '--temprature' (subspect generate): did you mean '--temperature'?"},
      {{"config", "finetun"}, "unknown kind of experiment 'finetun' (subspect config): did you mean 'finetune'?"},
  };
  for (const auto& [arguments, expected] : cases) {
    const Result result = run(arguments);
    EXPECT_EQ(result.exit_code, 2);
    EXPECT_THAT(result.error(), HasSubstr(expected));
    EXPECT_EQ(result.out, "");
  }
}

TEST_F(Usage, MissingAndWrongOptionValuesNameTheOption) {
  EXPECT_THAT(run({"run"}).error(), HasSubstr("config is required"));
  EXPECT_THAT(run({"logits", "--model", "m"}).error(), HasSubstr("--tokens is required"));
  EXPECT_THAT(run({"generate", "--model", "m", "--max-new-tokens", "many"}).error(), HasSubstr("--max-new-tokens"));
  EXPECT_THAT(run({"logits", "--model", "m", "--tokens", "t", "--output", "o", "--dtype", "int4"}).error(),
              HasSubstr("--dtype"));
  EXPECT_EQ(run({"generate", "--model", "m", "--top-p", "3"}).exit_code, 2);
}

TEST_F(Usage, MoreIsSaidWhenVerbose) {
  EXPECT_THAT(run({"config", "finetun", "--verbose"}).err, HasSubstr("to do: did you mean"));
}

TEST_F(Usage, ListsNameWhatIsRegistered) {
  EXPECT_THAT(run({"list", "experiments"}).out, HasSubstr("finetune"));
  EXPECT_THAT(run({"list", "architectures"}).out, HasSubstr("qwen2"));
  EXPECT_THAT(run({"list", "judges"}).out, HasSubstr("rules"));
  EXPECT_THAT(run({"list", "prompt-formats"}).out, HasSubstr("alpaca"));
  EXPECT_THAT(run({"list", "kernels"}).out, HasSubstr("rms_norm"));
}

TEST_F(Usage, DoctorNamesDevicesAndLibraries) {
  const Result result = run({"doctor"});
  EXPECT_EQ(result.exit_code, 0);
  for (const char* text : {"cpu", "cuda", "OpenBLAS", "hub cache", "free disk"}) {
    EXPECT_THAT(result.out, HasSubstr(text));
  }
}

TEST_F(Usage, TheConfigurationPageIsUpToDate) {
  std::ifstream stream(std::filesystem::path(SUBSPECT_SOURCE_DIR) / "docs/configuration.md");
  const std::string page((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
  EXPECT_TRUE(run({"config", "--all"}).out == page) << "make it again: subspect config --all > docs/configuration.md";
}

TEST_F(Usage, CompletionScriptsAreValidAndComplete) {
  write("complete.bash",
        run({"completion", "bash"}).out +
            "COMP_WORDS=(subspect run x.yaml --ov); COMP_CWORD=3; _subspect; echo \"${COMPREPLY[@]}\"\n"
            "COMP_WORDS=(subspect tok); COMP_CWORD=1; _subspect; echo \"${COMPREPLY[@]}\"\n"
            "COMP_WORDS=(subspect tokenizer t); COMP_CWORD=2; _subspect; echo \"${COMPREPLY[@]}\"\n"
            "COMP_WORDS=(subspect run --device c); COMP_CWORD=3; _subspect; echo \"${COMPREPLY[@]}\"\n");
  const std::string command = "cd " + folder_.string() + " && bash complete.bash > words.txt";
  ASSERT_EQ(std::system(command.c_str()), 0);
  EXPECT_EQ(read("words.txt"), "--overwrite\ntokenize tokenizer\ntrain\ncpu cuda\n");
}

}  // namespace
}  // namespace subspect::tests
