// The planned memory of training on a GPU against what the allocator of the emulated device measures.
#include "tests/model/measured_training.h"

namespace subspect::model {
namespace {

TEST_P(PlannedTraining, IsWhatTheAllocatorOfTheGpuMeasures) {
  expect_planned({runtime::DeviceType::cuda, 0}, GetParam());
}

/// Besides what a CPU runs: an optimizer's state in the host's memory.
std::vector<PlannedConfiguration> configurations() {
  std::vector<PlannedConfiguration> list = planned_configurations(true);
  PlannedConfiguration offloaded = list.front();
  offloaded.name = "llama_offloaded";
  offloaded.shape.offload = true;
  list.push_back(offloaded);
  return list;
}

INSTANTIATE_TEST_SUITE_P(Emulated, PlannedTraining, ::testing::ValuesIn(configurations()),
                         [](const auto& instance) { return instance.param.name; });

}  // namespace
}  // namespace subspect::model
