// What holds for every schedule: it rises over the warm-up, never rises after it, and ends where it should.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cmath>

#include "runtime/optim/schedule.h"

namespace subspect::runtime::optim {
namespace {

TEST(ScheduleProperty, RisesOverTheWarmUpAndThenFallsToItsEnd) {
  EXPECT_TRUE(rc::check([] {
    const Schedule schedule{
        .kind = *rc::gen::element(ScheduleKind::cosine, ScheduleKind::linear, ScheduleKind::constant).as("kind"),
        .warmup_ratio = *rc::gen::inRange(0, 101).as("percent of warm-up") / 100.0,
        .final_ratio = *rc::gen::inRange(0, 101).as("percent at the end") / 100.0};
    const int64_t total = *rc::gen::inRange<int64_t>(1, 400).as("steps");
    const int64_t warmup = schedule.warmup_steps(total);
    RC_ASSERT(warmup >= 0 && warmup <= total);
    for (int64_t step = 0; step <= total; ++step) {
      const double factor = schedule.factor(step, total);
      RC_ASSERT(std::isfinite(factor) && factor >= 0.0 && factor <= 1.0);
      if (step == 0) continue;
      const double before = schedule.factor(step - 1, total);
      RC_ASSERT((step <= warmup ? factor >= before : factor <= before + 1e-12));
    }
    if (warmup > 0) RC_ASSERT(schedule.factor(0, total) == 0.0);
    if (warmup < total) {
      RC_ASSERT(schedule.factor(warmup, total) == 1.0);
      const double end = schedule.kind == ScheduleKind::constant ? 1.0 : schedule.final_ratio;
      RC_ASSERT(std::abs(schedule.factor(total, total) - end) < 1e-12);
    }
  }));
}

}  // namespace
}  // namespace subspect::runtime::optim
