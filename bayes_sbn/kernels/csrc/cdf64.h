// F64, the cumulative distribution functions that decide random bits, operation by operation.
//
// Equal to bayes_sbn/kernels/reference/cdf64.py, whose text says why: double precision, each product,
// sum and quotient rounded on its own (compiled with -ffp-contract=off), no function of a library.
// Loops over kLanes values let a compiler use vectors, whose operations round alike.
//
// Included by the files of every instruction set, hence nothing here may have external linkage.
#ifndef BSBN_CDF64_H
#define BSBN_CDF64_H

#include <cstdint>
#include <cstring>

#include "bsbn.h"
#include "device.h"

namespace {

constexpr int kLanes = 16;

BSBN_DEVICE constexpr double kExponential[] = {
    0x1.6124613a86d09p-33, 0x1.1eed8eff8d898p-29, 0x1.ae64567f544e4p-26,
    0x1.27e4fb7789f5cp-22, 0x1.71de3a556c734p-19, 0x1.a01a01a01a01ap-16,
    0x1.a01a01a01a01ap-13, 0x1.6c16c16c16c17p-10, 0x1.1111111111111p-7,
    0x1.5555555555555p-5, 0x1.5555555555555p-3, 0x1.0000000000000p-1,
    0x1.0000000000000p+0, 0x1.0000000000000p+0};

BSBN_DEVICE constexpr double kGaussianTail[] = {
    -0x1.18317318b5bdcp-28, -0x1.e3235c4ddfae3p-26, -0x1.c494c36883668p-25,
    0x1.43eba2186cb09p-24, 0x1.0afb6d82669e9p-22, -0x1.6875dce5ab18bp-21,
    -0x1.54dcde33fe2cep-20, 0x1.bddb81744ac04p-18, 0x1.01fe234099bb7p-20,
    -0x1.fae6f8e0330e5p-15, 0x1.199957f06f6edp-13, 0x1.cc6e67cdd27dcp-13,
    -0x1.37ccc56fa9aa0p-9, 0x1.26a1153aec04bp-7, -0x1.7f9d04377381ap-6,
    0x1.8807f29ff88a5p-5, -0x1.4b4ce479f83aap-4, 0x1.db6af8722ce46p-4,
    -0x1.25cd1321c8cb5p-3, 0x1.3b0fbcb4c77bep-4};

constexpr double kLog2E = 0x1.71547652b82fep+0;
constexpr double kLn2High = 0x1.62e42fefa3800p-1;
constexpr double kLn2Low = 0x1.ef35793c76730p-45;
constexpr double kGrid = 0x1p26;
constexpr double kRound = 0x1.8p52;  // adding and subtracting it rounds to an integer, ties to even

template <int n>
BSBN_DEVICE inline double horner(const double (&coefficients)[n], double x) {
  double value = coefficients[0];
  for (int k = 1; k < n; ++k) {
    value *= x;
    value += coefficients[k];
  }
  return value;
}

// exp(t) for -90 <= t <= 0, where 2^n is a normal number.
BSBN_DEVICE inline double exp64(double t) {
  const double n = (t * kLog2E + kRound) - kRound;
  const double r = (t - n * kLn2High) - n * kLn2Low;
  const int64_t exponent = static_cast<int64_t>(n) + 1023;
  double power;
  const uint64_t bits = static_cast<uint64_t>(exponent) << 52;
  std::memcpy(&power, &bits, sizeof power);
  return horner(kExponential, r) * power;
}

// exp(t) for t <= 0, clamped to -1000; a power below the normal numbers is taken in two steps, of which
// the first is exact.
BSBN_DEVICE inline double wide_exp64(double t) {
  t = t > -1000.0 ? t : -1000.0;
  const double n = (t * kLog2E + kRound) - kRound;
  const double r = (t - n * kLn2High) - n * kLn2Low;
  const int64_t half = static_cast<int64_t>(n) / 2, rest = static_cast<int64_t>(n) - half;
  const uint64_t bits[2] = {static_cast<uint64_t>(half + 1023) << 52, static_cast<uint64_t>(rest + 1023) << 52};
  double powers[2];
  std::memcpy(powers, bits, sizeof powers);
  return horner(kExponential, r) * powers[0] * powers[1];
}

struct Logistic {
  static constexpr double largest = 60.0;
  BSBN_DEVICE static double tail(double z) {
    const double e = exp64(-z);
    return e / (1.0 + e);
  }
};

struct Laplace {
  static constexpr double largest = 60.0;
  BSBN_DEVICE static double tail(double z) { return 0.5 * exp64(-z); }
};

struct Gaussian {
  static constexpr double largest = 9.0;
  BSBN_DEVICE static double tail(double z) {
    const double t = (z - 5.0) / (z + 5.0);
    const double value = exp64(-(0.5 * (z * z))) * horner(kGaussianTail, t);
    return z == 0.0 ? 0.5 : value;
  }
};

template <class Law>
BSBN_DEVICE inline double smooth_cdf(double z) {
  const double size = z < 0.0 ? -z : z;
  const double y = (size < Law::largest ? size : Law::largest) * kGrid;
  const double i = static_cast<double>(static_cast<int64_t>(y));
  const double upper = Law::tail(i / kGrid);
  const double lower = Law::tail((i + 1.0) / kGrid);
  const double value = upper - (upper - lower) * (y - i);
  return z < 0.0 ? value : 1.0 - value;
}

BSBN_DEVICE inline double uniform_cdf(double z) {
  double value = 0.5 * (1.0 + z);
  value = value < 1.0 ? value : 1.0;
  return value > 0.0 ? value : 0.0;
}

BSBN_DEVICE inline double triangular_cdf(double z) {
  const double size = z < 0.0 ? -z : z;
  const double rest = 1.0 - size;
  const double r = rest > 0.0 ? rest : 0.0;
  const double tail = 0.5 * (r * r);
  return z < 0.0 ? tail : 1.0 - tail;
}

// rint(f 2^48).
BSBN_DEVICE inline int64_t threshold_of(double f) {
  return static_cast<int64_t>((f * 0x1p48 + kRound) - kRound);
}

// rint(F64(a) 2^48) of `n` values: an activation is +1 where its 48-bit uniform is below.
template <int n>
BSBN_DEVICE inline void thresholds48(int64_t law, const double (&a)[n], double noise_scale,
                                     int64_t (&thresholds)[n]) {
  switch (law) {
    case BSBN_GAUSSIAN:
      for (int l = 0; l < n; ++l) thresholds[l] = threshold_of(smooth_cdf<Gaussian>(a[l] / noise_scale));
      break;
    case BSBN_LAPLACE:
      for (int l = 0; l < n; ++l) thresholds[l] = threshold_of(smooth_cdf<Laplace>(a[l] / noise_scale));
      break;
    case BSBN_UNIFORM:
      for (int l = 0; l < n; ++l) thresholds[l] = threshold_of(uniform_cdf(a[l] / noise_scale));
      break;
    case BSBN_TRIANGULAR:
      for (int l = 0; l < n; ++l) thresholds[l] = threshold_of(triangular_cdf(a[l] / noise_scale));
      break;
    default:
      for (int l = 0; l < n; ++l) thresholds[l] = threshold_of(smooth_cdf<Logistic>(a[l] / noise_scale));
  }
}

BSBN_DEVICE inline int64_t threshold48(int64_t law, double a, double noise_scale) {
  const double one[1] = {a};
  int64_t threshold[1];
  thresholds48<1>(law, one, noise_scale, threshold);
  return threshold[0];
}

}  // namespace

#endif  // BSBN_CDF64_H
