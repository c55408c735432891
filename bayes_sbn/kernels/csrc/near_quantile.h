// Where a search for the argument of a cdf begins: quantiles to a few digits.
//
// Included by the files of every instruction set, hence nothing here may have external linkage.
#ifndef BSBN_NEAR_QUANTILE_H
#define BSBN_NEAR_QUANTILE_H

#include <cstdint>
#include <cstring>

#include "bsbn.h"
#include "device.h"

namespace {

// log(x) of a positive normal number, to 1e-5: for guesses.
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

// A value near the one at which the cdf is p: where a search begins.
BSBN_DEVICE inline double near_quantile(int64_t law, double p) {
  const double rest = 1.0 - p, tail = p < rest ? p : rest;
  double z;
  switch (law) {
    case BSBN_UNIFORM:
      return 2.0 * p - 1.0;
    case BSBN_TRIANGULAR:
      z = 1.0 - BSBN_SQRT(2.0 * tail);
      break;
    case BSBN_LAPLACE:
      z = -near_log(2.0 * tail);
      break;
    case BSBN_GAUSSIAN: {
      const double t = BSBN_SQRT(-2.0 * near_log(tail));
      z = t - (2.515517 + t * (0.802853 + t * 0.010328)) /
                  (1.0 + t * (1.432788 + t * (0.189269 + t * 0.001308)));
      break;
    }
    default:
      return near_log(p / rest);
  }
  return p < rest ? -z : z;
}

}  // namespace

#endif  // BSBN_NEAR_QUANTILE_H
