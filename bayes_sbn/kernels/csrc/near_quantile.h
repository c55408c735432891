// Quantiles to a few digits, of which bounds of shared noise follow.
//
// Included by the files of every instruction set, hence nothing here may have external linkage.
#ifndef BSBN_NEAR_QUANTILE_H
#define BSBN_NEAR_QUANTILE_H

#include <cstdint>
#include <cstring>

#include "bsbn.h"
#include "device.h"

namespace {

// log(x) of a positive normal number, to 2e-6.
BSBN_DEVICE inline double near_log(double x) {
  uint64_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  bits -= 0x3FE6A09E00000000u;  // of sqrt(1/2), so that the rest of the number is around 1
  const int64_t exponent = static_cast<int64_t>(bits) >> 52;
  bits = (bits & 0x000FFFFFFFFFFFFFu) + 0x3FE6A09E00000000u;
  double rest;
  std::memcpy(&rest, &bits, sizeof rest);
  const double s = (rest - 1.0) / (rest + 1.0), square = s * s;
  return 0.6931471805599453 * static_cast<double>(exponent) +
         2.0 * s * (1.0 + square * (1.0 / 3.0 + square * 0.2));
}

// Values near to those at which the cdf is p, by at most quantile_error(law).
template <int n>
BSBN_DEVICE inline void near_quantiles(int64_t law, const double (&p)[n], double (&z)[n]) {
  for (int lane = 0; lane < n; ++lane) {
    const double rest = 1.0 - p[lane];
    z[lane] = p[lane] < rest ? p[lane] : rest;  // the tail
  }
  switch (law) {
    case BSBN_UNIFORM:
      for (int lane = 0; lane < n; ++lane) z[lane] = 1.0 - 2.0 * z[lane];
      break;
    case BSBN_TRIANGULAR:
      for (int lane = 0; lane < n; ++lane) z[lane] = 1.0 - BSBN_SQRT(2.0 * z[lane]);
      break;
    case BSBN_LAPLACE:
      for (int lane = 0; lane < n; ++lane) z[lane] = -near_log(2.0 * z[lane]);
      break;
    case BSBN_GAUSSIAN:
      for (int lane = 0; lane < n; ++lane) {
        const double t = BSBN_SQRT(-2.0 * near_log(z[lane]));
        z[lane] = t - (2.515517 + t * (0.802853 + t * 0.010328)) /
                          (1.0 + t * (1.432788 + t * (0.189269 + t * 0.001308)));
      }
      break;
    default:
      for (int lane = 0; lane < n; ++lane) z[lane] = near_log((1.0 - z[lane]) / z[lane]);
  }
  for (int lane = 0; lane < n; ++lane) z[lane] = p[lane] < 0.5 ? -z[lane] : z[lane];
}

BSBN_DEVICE inline double quantile_error(int64_t law) {
  switch (law) {
    case BSBN_UNIFORM:
    case BSBN_TRIANGULAR:
      return 1e-6;
    case BSBN_GAUSSIAN:
      return 1e-3;  // Abramowitz and Stegun 26.2.23, and the logarithm in it
    default:
      return 1e-5;
  }
}

}  // namespace

#endif  // BSBN_NEAR_QUANTILE_H
