// The paper's configurations: each plans without its models and data, with what is known of them.
#include <gmock/gmock.h>

#include <cstdlib>
#include <filesystem>

#include "tests/tools/program.h"

namespace subspect::tests {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

struct Paper {
  const char* config;
  const char* parameters;  ///< of the larger checkpoint, as the model cards give them
  const char* aligned;
};

void PrintTo(const Paper& paper, std::ostream* out) {
  *out << paper.config;
}

class PaperConfig : public ProgramTest, public ::testing::WithParamInterface<Paper> {
 protected:
  void SetUp() override {
    ProgramTest::SetUp();
    ::setenv("HF_HOME", folder_.c_str(), 1);  // no model is there
    ::setenv("SUBSPECT_DATA", (folder_ / "data").c_str(), 1);
  }
  void TearDown() override {
    ::unsetenv("HF_HOME");
    ::unsetenv("SUBSPECT_DATA");
    ProgramTest::TearDown();
  }

  const fs::path configs = fs::path(SUBSPECT_SOURCE_DIR) / "configs";
};

TEST_P(PaperConfig, PlansBeforeAnythingIsDownloaded) {
  const std::string config = (configs / "paper" / GetParam().config).string();
  const Result refused = run({"run", config, "--dry-run"});
  EXPECT_EQ(refused.exit_code, 2) << refused.out;
  EXPECT_THAT(refused.err, HasSubstr("MetaMathQA-395K.json): check the path"));
  const Result plan = run({"run", config, "--dry-run", "--assume", (configs / "models" / "hub").string()});
  ASSERT_EQ(plan.exit_code, 0) << plan.err;
  EXPECT_THAT(plan.out, HasSubstr(GetParam().parameters));
  for (const char* stage : {"useful (finetune)", "harmful (finetune)", "contaminated (finetune)", "scores (evaluate)",
                            "projection (projection)", "overlap (overlap)", "activations (activations)"}) {
    EXPECT_THAT(plan.out, HasSubstr(stage));
  }
  EXPECT_THAT(plan.out, HasSubstr("examples: 24000, optimizer steps: 750 (750 per epoch), training tokens: at most"));
  EXPECT_THAT(plan.out, HasSubstr("memory on "));
  EXPECT_THAT(plan.out, HasSubstr("disk: "));
  EXPECT_THAT(plan.out, HasSubstr("estimated time: "));
  EXPECT_THAT(plan.out, HasSubstr(std::string("assumed: model ") + GetParam().aligned + "\n"));
  EXPECT_THAT(plan.out, HasSubstr("assumed: file " + (folder_ / "data/metamath/MetaMathQA-395K.json").string()));
  EXPECT_THAT(plan.out, HasSubstr("assumed: file " + (folder_ / "data/advbench/harmful_behaviors.csv").string()));
}

INSTANTIATE_TEST_SUITE_P(Configs, PaperConfig,
                         ::testing::Values(Paper{"llama-2-7b.yaml", "6.74 G", "meta-llama/Llama-2-7b-chat-hf"},
                                           Paper{"llama-3.2-1b.yaml", "1.24 G", "meta-llama/Llama-3.2-1B-Instruct"},
                                           Paper{"qwen2.5-1.5b.yaml", "1.54 G", "Qwen/Qwen2.5-1.5B-Instruct"},
                                           Paper{"qwen2.5-3b.yaml", "3.09 G", "Qwen/Qwen2.5-3B-Instruct"},
                                           Paper{"qwen2.5-7b.yaml", "7.62 G", "Qwen/Qwen2.5-7B-Instruct"}),
                         [](const auto& tested) {
                           std::string name = tested.param.config;
                           std::erase_if(name, [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; });
                           return name;
                         });

TEST(PaperConfigs, EveryOneIsTested) {
  int configs = 0;
  for (const auto& entry : fs::directory_iterator(fs::path(SUBSPECT_SOURCE_DIR) / "configs" / "paper")) {
    configs += entry.path().filename() == "study.yaml" ? 0 : 1;
  }
  EXPECT_EQ(configs, 5);
}

}  // namespace
}  // namespace subspect::tests
