// The list of deviations: what configurations accept, what is found in them, and that the documentation has them all.
#include "experiments/deviations.h"

#include <gmock/gmock.h>

#include "experiments/config/config.h"
#include "experiments/launch.h"
#include "experiments/overlap.h"
#include "runtime/error.h"
#include "runtime/io/files.h"

namespace subspect::experiments {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(Deviations, AreOffByDefaultAndStandInTheResolvedConfiguration) {
  auto overlap = config_from_yaml<Overlap>("reference: a\nmodels: {x: b}\n", "/tmp");
  EXPECT_THAT(resolved_yaml(overlap), HasSubstr("\ndeviations: []\n"));
  EXPECT_THAT(deviations_of(resolved_yaml(overlap)), IsEmpty());
  auto published = config_from_yaml<Overlap>("reference: a\nmodels: {x: b}\ndeviations: [layer_pattern]\n", "/tmp");
  EXPECT_THAT(resolved_yaml(published), HasSubstr("\ndeviations: [layer_pattern]\n"));
  EXPECT_THAT(deviations_of(resolved_yaml(published)),
              ElementsAre("layer_pattern: granularity layer matches no tensor and gives no rows"));
}

TEST(Deviations, ANameOfAnotherExperimentIsAnError) {
  try {
    config_from_yaml<Overlap>("reference: a\nmodels: {x: b}\ndeviations: [tied_twice]\n", "/tmp");
    FAIL() << "the deviation of another experiment was accepted";
  } catch (const runtime::UsageError& error) {
    EXPECT_THAT(error.what(), HasSubstr("layer_pattern"));
  }
}

TEST(Deviations, AreFoundInTasksAndStagesEachOnce) {
  const std::vector<std::string> found = deviations_of(R"(
stages:
  a: {kind: evaluate, tasks: [{name: advbench, deviations: [last_dropped]}]}
  b: {kind: projection, rounding: float16, evaluate: [{name: advbench, deviations: [last_dropped]}]}
  c: {kind: projection, rounding: checkpoint, deviations: []}
)");
  EXPECT_THAT(found, ElementsAre(HasSubstr("last_dropped: "), HasSubstr("rounding: float16: ")));
}

TEST(Deviations, EachHasALineInTheDocumentation) {
  const std::string page = runtime::io::read_file(std::filesystem::path(SUBSPECT_SOURCE_DIR) / "docs/deviations.md");
  for (const Deviation& deviation : known_deviations()) {
    EXPECT_THAT(page, HasSubstr("| `" + std::string(deviation.name) + "` | " + std::string(deviation.kind) + " |"));
  }
}

}  // namespace
}  // namespace subspect::experiments
