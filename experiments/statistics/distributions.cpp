// Normal, beta and Student distributions.
#include "experiments/statistics/distributions.h"

#include <cmath>
#include <initializer_list>
#include <limits>
#include <numbers>

namespace subspect::experiments::statistics {

namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

/// Coefficients of polynomials, the highest power first.
template <int N>
double polynomial(const double (&coefficients)[N], double x) {
  double value = 0;
  for (const double coefficient : coefficients) value = value * x + coefficient;
  return value;
}

/// Acklam's approximation of the normal quantile for p <= 1/2, relative error below 1.2e-9.
double rough_normal_quantile(double p) {
  constexpr double a[] = {-3.969683028665376e+01, 2.209460984245205e+02,  -2.759285104469687e+02,
                          1.383577518672690e+02,  -3.066479806614716e+01, 2.506628277459239e+00};
  constexpr double b[] = {-5.447609879822406e+01, 1.615858368580409e+02,  -1.556989798598866e+02,
                          6.680131188771972e+01,  -1.328068155288572e+01, 1.0};
  constexpr double c[] = {-7.784894002430293e-03, -3.223964580411365e-01, -2.400758277161838e+00,
                          -2.549732539343734e+00, 4.374664141464968e+00,  2.938163982698783e+00};
  constexpr double d[] = {7.784695709041462e-03, 3.224671290700398e-01, 2.445134137142996e+00, 3.754408661907416e+00,
                          1.0};
  constexpr double tail = 0.02425;
  if (p < tail) {
    const double q = std::sqrt(-2 * std::log(p));
    return polynomial(c, q) / polynomial(d, q);
  }
  const double q = p - 0.5;
  return q * polynomial(a, q * q) / polynomial(b, q * q);
}

/// The continued fraction of I_x(a, b), which converges fast for x < (a + 1) / (a + b + 2).
double beta_fraction(double x, double a, double b) {
  constexpr double tiny = 1e-300;
  constexpr int limit = 10000;
  const auto away_from_zero = [](double value) { return std::abs(value) < tiny ? tiny : value; };
  double c = 1, d = 1 / away_from_zero(1 - (a + b) * x / (a + 1));
  double value = d;
  for (int m = 1; m < limit; ++m) {
    const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    for (const double step : {even, odd}) {
      d = 1 / away_from_zero(1 + step * d);
      c = away_from_zero(1 + step / c);
      value *= d * c;
    }
    if (std::abs(d * c - 1) < 1e-16) break;
  }
  return value;
}

}  // namespace

double normal_cdf(double z) {
  return 0.5 * std::erfc(-z / std::numbers::sqrt2);
}

double normal_quantile(double p) {
  if (!(p >= 0 && p <= 1)) return nan;
  if (p == 0) return -infinity;
  if (p == 1) return infinity;
  if (p > 0.5) return -normal_quantile(1 - p);
  const double z = rough_normal_quantile(p);
  const double error = normal_cdf(z) - p;
  const double step = error * std::sqrt(2 * std::numbers::pi) * std::exp(z * z / 2);
  return std::isfinite(step) ? z - step / (1 + z * step / 2) : z;
}

double beta_cdf(double x, double a, double b) {
  if (!(a > 0 && b > 0) || std::isnan(x)) return nan;
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - beta_cdf(1 - x, b, a);
  const double front = std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b) + a * std::log(x) + b * std::log1p(-x);
  return std::exp(front) * beta_fraction(x, a, b) / a;
}

double beta_quantile(double p, double a, double b) {
  if (!(p >= 0 && p <= 1)) return nan;
  double low = 0, high = 1;
  for (int step = 0; step < 2000; ++step) {
    const double middle = 0.5 * (low + high);
    if (middle <= low || middle >= high) break;
    (beta_cdf(middle, a, b) < p ? low : high) = middle;
  }
  return 0.5 * (low + high);
}

double student_quantile(double p, double degrees) {
  if (!(p >= 0 && p <= 1) || !(degrees > 0)) return nan;
  if (p > 0.5) return -student_quantile(1 - p, degrees);
  // For t < 0: P(T <= t) = I_x(degrees / 2, 1 / 2) / 2 with x = degrees / (degrees + t^2).
  const double x = beta_quantile(2 * p, degrees / 2, 0.5);
  return x == 0 ? -infinity : -std::sqrt(degrees * (1 - x) / x);
}

}  // namespace subspect::experiments::statistics
