// Distribution functions and quantiles: normal, beta, Student's t.
#pragma once

namespace subspect::experiments::statistics {

/// P(Z <= z) of a standard normal Z.
double normal_cdf(double z);

/// The z with normal_cdf(z) = p; -infinity at 0, infinity at 1, NaN outside [0, 1]. Relative error below 1e-12 for
/// p >= 1e-300. Acklam's rational approximation, then one step of Halley's method.
double normal_quantile(double p);

/// The regularized incomplete beta function I_x(a, b) = P(X <= x) of X ~ Beta(a, b), a, b > 0. By the continued
/// fraction of the NIST Digital Library of Mathematical Functions, 8.17.22, evaluated by Lentz's method.
double beta_cdf(double x, double a, double b);

/// The x in [0, 1] with beta_cdf(x, a, b) = p, by bisection down to neighbouring doubles; NaN for p outside [0, 1].
double beta_quantile(double p, double a, double b);

/// The p-quantile of Student's t with `degrees` > 0 degrees of freedom, from the beta quantile of t^2 / (degrees +
/// t^2).
double student_quantile(double p, double degrees);

}  // namespace subspect::experiments::statistics
