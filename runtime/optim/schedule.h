// Learning-rate schedules, as Transformers computes them (optimization.py: get_cosine_schedule_with_warmup and others).
#pragma once

#include <cstdint>
#include <string_view>

namespace subspect::runtime::optim {

enum class ScheduleKind : uint8_t { cosine, linear, constant };

/// "cosine", "linear" or "constant"; throws UsageError for other names.
ScheduleKind parse_schedule(std::string_view text);

struct Schedule {
  ScheduleKind kind = ScheduleKind::cosine;
  double warmup_ratio = 0.0;  ///< of the steps; their number is rounded up
  double final_ratio = 0.0;   ///< of the peak rate, reached after the last step (cosine and linear)

  int64_t warmup_steps(int64_t total_steps) const;

  /// What the peak learning rate is multiplied by in optimizer step `step` of `total_steps`.
  ///
  /// Steps count from 0: step 0 has rate 0 when there is a warm-up, step `warmup_steps` has the peak rate, and the
  /// final ratio belongs to `total_steps`, the state after the last step, which is `total_steps - 1`.
  double factor(int64_t step, int64_t total_steps) const;
};

}  // namespace subspect::runtime::optim
