// What decides the activations of 16 units: an integer bound, or a squeeze of the rule in single
// precision that leaves what is close to the exact rule.
//
// A unit sees an integer v: the number of mismatches of a row with its weights, when
// dot = magnitude (inputs - 2 v), or the dot itself.  The exact rule is
//     +1  where  u48 < rint(F64(scale * dot + bias) * 2^48),
// monotone in v (bayes_sbn/kernels/reference/sampling.py), so that a noise shared by all rows is one
// bound on v.  With a noise of its own for each row, u16 are the leading bits of u48, and with
// w = 1 + exp(-a / noise_scale) of the logistic law (u16 + 1) w <= 65536 (1 - g) is surely +1,
// u16 w >= 65536 (1 + g) surely -1; g bounds the error of w.
//
// Included by the files of every instruction set, hence nothing here may have external linkage.
#ifndef BSBN_ENSEMBLE_DECISIONS_H
#define BSBN_ENSEMBLE_DECISIONS_H

#include <cstdint>

#include "activation_table.h"
#include "cdf64.h"
#include "near_quantile.h"
#include "philox.h"

namespace {

// The units of a block in one draw.
struct Units {
  double scale[kLanes], bias[kLanes];
  double noise_scale;
  int64_t law;
  int64_t site;
  int64_t inputs, magnitude;
  bool counts_mismatches;
  int number;  // of units that there are, 1..16

  int64_t dot(int64_t v) const { return counts_mismatches ? magnitude * (inputs - 2 * v) : v; }
  int64_t threshold(int lane, int64_t v) const {
    return threshold48(law, scale[lane] * static_cast<double>(dot(v)) + bias[lane], noise_scale);
  }
};

// +1 where (v <= bound) differs from the bit of the unit in `flips`.
struct Bounds {
  alignas(64) int32_t bound[kLanes];
  uint32_t flips;
};

// The bounds of 16 units for their uniforms: of each the last v before the rule changes, in
// [least - 1, most].  Where the real solution is not close to an integer it is a quantile away; the
// others are found by a search outwards from there, all units at once.
inline void find_bounds(const Units& units, const int64_t (&u48)[kLanes], int64_t least, int64_t most,
                        Bounds* bounds) {
  int64_t low[kLanes], high[kLanes], at[kLanes];  // low is not beyond the change, high is
  bool rises[kLanes];
  double p[kLanes], z[kLanes];
  for (int lane = 0; lane < kLanes; ++lane) p[lane] = (static_cast<double>(u48[lane]) + 0.5) * 0x1p-48;
  near_quantiles(units.law, p, z);
  const double error = quantile_error(units.law) * units.noise_scale;
  const double first = static_cast<double>(least), last = static_cast<double>(most);
  int64_t num_open = 0;
  for (int lane = 0; lane < kLanes; ++lane) {
    const double scale = units.scale[lane];
    rises[lane] = units.counts_mismatches ? scale < 0.0 : !(scale < 0.0);
    const double slope = units.counts_mismatches ? -2.0 * static_cast<double>(units.magnitude) * scale : scale;
    const double at_0 = scale * static_cast<double>(units.dot(0)) + units.bias[lane];
    const double guess = (units.noise_scale * z[lane] - at_0) / slope;
    const double size = slope < 0.0 ? -slope : slope;
    // rounding of scale dot + bias, of the guess, and of the cdf to 2^-48, of which few are needed here
    const double rounding = 0x1p-48 * ((scale < 0.0 ? -scale : scale) * last * static_cast<double>(units.magnitude) +
                                       (units.bias[lane] < 0.0 ? -units.bias[lane] : units.bias[lane]));
    const double reach = (error + rounding) / size + 0x1p-48 * (guess < 0.0 ? -guess : guess);
    const bool is_tail = p[lane] < 0x1p-24 || p[lane] > 1.0 - 0x1p-24;
    const double inside = guess < last + 1.0 ? guess : last + 1.0;  // the last one of NaN
    const double clamped = inside > first - 1.0 ? inside : first - 1.0;
    const int64_t near = static_cast<int64_t>(clamped + 4.0 - first) + least - 4;  // rounded down
    const double below = guess - static_cast<double>(near), above = static_cast<double>(near) + 1.0 - guess;
    const bool is_low = guess < first - 1.0 - reach, is_high = guess > last + 1.0 + reach;
    const bool is_sure = !is_tail && (is_low || is_high || (below > reach && above > reach));  // false of NaN
    low[lane] = is_sure ? (is_high || near > most ? most : near < least ? least - 1 : near) : least - 1;
    high[lane] = is_sure ? low[lane] + 1 : most + 1;
    at[lane] = near < least ? least : near > most ? most : near;
    num_open += high[lane] - low[lane] > 1;
  }
  for (int64_t step = 1; num_open != 0; step *= 2) {
    double a[kLanes];
    int64_t thresholds[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) {
      a[lane] = units.scale[lane] * static_cast<double>(units.dot(at[lane])) + units.bias[lane];
    }
    thresholds48<kLanes>(units.law, a, units.noise_scale, thresholds);
    int64_t widest = 0;
    for (int lane = 0; lane < kLanes; ++lane) {
      const bool is_beyond = (u48[lane] < thresholds[lane]) == rises[lane];
      const bool is_open = high[lane] - low[lane] > 1;
      high[lane] = is_open && is_beyond ? at[lane] : high[lane];
      low[lane] = is_open && !is_beyond ? at[lane] : low[lane];
      const bool has_low = low[lane] >= least, has_high = high[lane] <= most;
      int64_t next = low[lane] + (high[lane] - low[lane]) / 2;
      if (!has_low && has_high && high[lane] - step > least) next = high[lane] - step;
      if (!has_high && has_low && low[lane] + step < most) next = low[lane] + step;
      const int64_t width = high[lane] - low[lane];
      widest = width > widest ? width : widest;
      at[lane] = next < least ? least : next > most ? most : next;
    }
    if (widest <= 1) break;
  }
  bounds->flips = 0;
  for (int lane = 0; lane < kLanes; ++lane) {
    bounds->bound[lane] = static_cast<int32_t>(low[lane]);
    bounds->flips |= static_cast<uint32_t>(rises[lane]) << lane;
  }
}

// The squeeze: what is computed of v is slope v + offset, the logarithm to base 2 of w - 1, or the
// cell of the table.
struct Squeeze {
  alignas(64) float slope[kLanes];
  alignas(64) float offset[kLanes];
  alignas(64) float low[kLanes];   // 65536 (1 - g); of the table, 0 or, where nothing is sure, -inf
  alignas(64) float high[kLanes];  // 65536 (1 + g)
  // what is looked up first: t = coarse_slope v + coarse_offset of the CoarseTable, and its guard, or
  // 65535 where nothing is sure, for two rows: those of units 4 i .. 4 i + 3 of one, then of the other
  alignas(64) float coarse_slope[kLanes];
  alignas(64) float coarse_offset[kLanes];
  alignas(64) uint16_t guard[2 * kLanes];
};

constexpr double kSinglePrecision = 4e-7;  // a bound of the relative error of slope v + offset

inline void make_squeeze(const Units& units, int64_t most, const CoarseTable& coarse, Squeeze* squeeze) {
  const bool is_logistic = units.law == BSBN_LOGISTIC;
  const double reach = table_reach(units.law);
  const double factor =
      is_logistic ? -1.4426950408889634 / units.noise_scale : 0.5 * kCells / reach / units.noise_scale;
  const double shift = is_logistic ? 0.0 : 0.5 * kCells;
  const double coarse_factor = 32768.0 / coarse_reach(units.law) / units.noise_scale;
  for (int lane = 0; lane < kLanes; ++lane) {
    const double one = units.scale[lane] *
                       (units.counts_mismatches ? -2.0 * static_cast<double>(units.magnitude) : 1.0);
    const double at_0 = units.scale[lane] * static_cast<double>(units.dot(0)) + units.bias[lane];
    const double slope = one * factor, offset = at_0 * factor + shift;
    const double size = (slope < 0 ? -slope : slope) * static_cast<double>(most) +
                        (offset < 0 ? -offset : offset);
    const double error = kSinglePrecision * size;
    squeeze->slope[lane] = static_cast<float>(slope);
    squeeze->offset[lane] = static_cast<float>(offset);
    const double g = is_logistic ? 2e-5 + error : 0.0;
    const bool is_sure = is_logistic ? g < 0.02 : error < 0.5;  // false of NaN and of infinity
    squeeze->low[lane] = is_sure ? static_cast<float>(65536.0 * (1.0 - g)) : -__builtin_inff();
    squeeze->high[lane] = is_sure ? static_cast<float>(65536.0 * (1.0 + g)) : __builtin_inff();
    const double coarse_slope = one * coarse_factor, coarse_offset = at_0 * coarse_factor;
    const double coarse_size = (coarse_slope < 0 ? -coarse_slope : coarse_slope) * static_cast<double>(most) +
                               (coarse_offset < 0 ? -coarse_offset : coarse_offset);
    squeeze->coarse_slope[lane] = static_cast<float>(coarse_slope);
    squeeze->coarse_offset[lane] = static_cast<float>(coarse_offset);
    // rounding to an integer is the rest of kCoarseError
    const bool is_near = kSinglePrecision * coarse_size < kCoarseError - 0.5;
    const uint16_t guard = is_near ? static_cast<uint16_t>(coarse.guard) : 65535;
    squeeze->guard[lane / 4 * 8 + lane % 4] = squeeze->guard[lane / 4 * 8 + 4 + lane % 4] = guard;
  }
}

}  // namespace

#endif  // BSBN_ENSEMBLE_DECISIONS_H
