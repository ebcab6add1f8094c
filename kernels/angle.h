// Cosine and sine of large angles, the same on every backend.
#pragma once

#include <cstdint>

#include "kernels/host_device.h"

namespace subspect::kernels {

struct CosineSine {
  float cosine;
  float sine;
};

/// The angle (radians, below 2^31 in magnitude) is reduced to [-pi/4, pi/4] in double, which is exact enough for any
/// position of a token; then Taylor polynomials, whose error there is below 1e-9. On a GPU this needs none of the
/// local memory that CUDA's own functions reserve for large angles.
SUBSPECT_HOST_DEVICE inline CosineSine cosine_sine(float angle) {
  constexpr double half_pi = 1.57079632679489661923;
  constexpr double round = 0x1.8p52;  // adding and subtracting it rounds to an integer
  const double wide = static_cast<double>(angle);
  const double shifted = wide * (1 / half_pi) + round;
  const double turns = shifted - round;
  const auto r = static_cast<float>(wide - turns * half_pi);
  const auto quadrant = static_cast<int32_t>(turns);
  const float s = r * r;
  const float sin_r = r + r * s * (-1.0F / 6 + s * (1.0F / 120 + s * (-1.0F / 5040 + s * (1.0F / 362880))));
  const float cos_r =
      1 + s * (-0.5F + s * (1.0F / 24 + s * (-1.0F / 720 + s * (1.0F / 40320 + s * (-1.0F / 3628800)))));
  const bool swap = (quadrant & 1) != 0;
  const float sin_q = swap ? cos_r : sin_r;
  const float cos_q = swap ? sin_r : cos_r;
  return {((quadrant + 1) & 2) != 0 ? -cos_q : cos_q, (quadrant & 2) != 0 ? -sin_q : sin_q};
}

}  // namespace subspect::kernels
