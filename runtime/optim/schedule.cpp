// Learning-rate schedules.
#include "runtime/optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "runtime/error.h"

namespace subspect::runtime::optim {

ScheduleKind parse_schedule(std::string_view text) {
  if (text == "cosine") return ScheduleKind::cosine;
  if (text == "linear") return ScheduleKind::linear;
  if (text == "constant") return ScheduleKind::constant;
  throw UsageError(fmt::format("unknown schedule '{}'", text), "schedule.name", "use cosine, linear or constant");
}

int64_t Schedule::warmup_steps(int64_t total_steps) const {
  return static_cast<int64_t>(std::ceil(static_cast<double>(total_steps) * warmup_ratio));
}

double Schedule::factor(int64_t step, int64_t total_steps) const {
  const int64_t warmup = warmup_steps(total_steps);
  if (step < warmup) return static_cast<double>(step) / static_cast<double>(std::max<int64_t>(warmup, 1));
  if (kind == ScheduleKind::constant) return 1.0;
  const double progress =
      static_cast<double>(step - warmup) / static_cast<double>(std::max<int64_t>(total_steps - warmup, 1));
  const double remaining =
      kind == ScheduleKind::cosine ? 0.5 * (1.0 + std::cos(std::numbers::pi * progress)) : 1.0 - progress;
  return final_ratio + (1.0 - final_ratio) * std::max(remaining, 0.0);
}

}  // namespace subspect::runtime::optim
