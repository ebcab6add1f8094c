// Learning-rate schedules against values computed by hand.
#include "runtime/optim/schedule.h"

#include <gtest/gtest.h>

#include <cmath>

#include "runtime/error.h"

namespace subspect::runtime::optim {
namespace {

TEST(Schedule, CosineMatchesTransformersByHand) {
  const Schedule schedule{.kind = ScheduleKind::cosine, .warmup_ratio = 0.2};
  ASSERT_EQ(schedule.warmup_steps(10), 2);
  EXPECT_EQ(schedule.factor(0, 10), 0.0);  // step counts from 0: the first step has rate 0
  EXPECT_EQ(schedule.factor(1, 10), 0.5);
  EXPECT_EQ(schedule.factor(2, 10), 1.0);
  EXPECT_NEAR(schedule.factor(4, 10), 0.5 * (1 + std::sqrt(0.5)), 1e-15);  // a quarter of the way: cos(pi / 4)
  EXPECT_NEAR(schedule.factor(6, 10), 0.5, 1e-15);
  EXPECT_NEAR(schedule.factor(9, 10), 0.038060233744356617, 1e-15);  // the last step: 0.5 (1 + cos(7 pi / 8))
  EXPECT_EQ(schedule.factor(10, 10), 0.0);                           // the floor, after the last step
}

TEST(Schedule, CosineEndsAtTheFinalRatio) {
  const Schedule schedule{.kind = ScheduleKind::cosine, .warmup_ratio = 0.0, .final_ratio = 0.1};
  EXPECT_EQ(schedule.factor(0, 4), 1.0);
  EXPECT_NEAR(schedule.factor(2, 4), 0.55, 1e-15);
  EXPECT_NEAR(schedule.factor(4, 4), 0.1, 1e-15);
}

TEST(Schedule, LinearAndConstant) {
  const Schedule linear{.kind = ScheduleKind::linear, .warmup_ratio = 0.25};
  EXPECT_EQ(linear.factor(1, 8), 0.5);
  EXPECT_EQ(linear.factor(2, 8), 1.0);
  EXPECT_NEAR(linear.factor(7, 8), 1.0 / 6.0, 1e-15);
  EXPECT_EQ(linear.factor(8, 8), 0.0);
  const Schedule constant{.kind = ScheduleKind::constant, .warmup_ratio = 0.25};
  EXPECT_EQ(constant.factor(1, 8), 0.5);
  EXPECT_EQ(constant.factor(7, 8), 1.0);
}

TEST(Schedule, WarmupIsRoundedUpAsInTransformers) {
  const Schedule schedule{.kind = ScheduleKind::cosine, .warmup_ratio = 0.02};
  EXPECT_EQ(schedule.warmup_steps(625), 13);  // ceil(12.5)
  EXPECT_EQ(schedule.warmup_steps(1), 1);
  EXPECT_EQ((Schedule{.kind = ScheduleKind::cosine, .warmup_ratio = 0.0}.factor(0, 1)), 1.0);
}

TEST(Schedule, UnknownNameIsAUsageError) {
  EXPECT_THROW(parse_schedule("cosin"), UsageError);
  EXPECT_EQ(parse_schedule("linear"), ScheduleKind::linear);
}

}  // namespace
}  // namespace subspect::runtime::optim
