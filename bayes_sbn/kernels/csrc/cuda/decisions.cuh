// What decides an activation: an integer bound, or a squeeze of the exact rule that leaves what is
// close to it.
//
// The rule, +1 where u48 < rint(F64(scale * dot + bias) * 2^48), and both ways to it are those of
// ensemble_decisions.h, for one unit instead of 16.
#ifndef BSBN_CUDA_DECISIONS_CUH
#define BSBN_CUDA_DECISIONS_CUH

#include "activation_table.h"
#include "cdf64.h"
#include "near_quantile.h"
#include "philox.h"
#include "arguments.h"

namespace {

// A unit in one draw.
struct Unit {
  double scale, bias, noise_scale;
  int64_t law, inputs, magnitude;
  bool is_number;

  __device__ Unit(const CudaLayer& layer, int64_t position, int64_t unit)
      : scale(layer.scale[position * layer.units_stride + unit]),
        bias(layer.bias[position * layer.units_stride + unit]),
        noise_scale(layer.noise_scale),
        law(layer.law),
        inputs(layer.inputs),
        magnitude(layer.magnitude),
        is_number(layer.is_number != 0) {}

  __device__ int64_t dot(int64_t v) const { return is_number ? v : magnitude * (inputs - 2 * v); }
  __device__ double pre_activation(int64_t v) const {
    return scale * static_cast<double>(dot(v)) + bias;
  }
  __device__ int64_t threshold(int64_t v) const {
    return threshold48(law, pre_activation(v), noise_scale);
  }
  // By how much one step of v moves the pre-activation.
  __device__ double step() const {
    return is_number ? scale : -2.0 * static_cast<double>(magnitude) * scale;
  }
};

__device__ inline int64_t most_of(const CudaLayer& layer) {
  return layer.is_number ? layer.inputs * layer.largest : layer.inputs;
}

// The last v before the rule changes, in [least - 1, most]: a search outwards from a guess.
__device__ inline Bound find_bound(const Unit& unit, int64_t u48, int64_t least, int64_t most) {
  const bool rises = unit.is_number ? !(unit.scale < 0.0) : unit.scale < 0.0;
  const double p[1] = {(static_cast<double>(u48) + 0.5) * 0x1p-48};
  double z[1];
  near_quantiles(unit.law, p, z);
  const double guess = (unit.noise_scale * z[0] - unit.pre_activation(0)) / unit.step();
  int64_t low = least - 1, high = most + 1, at = least;  // low is not beyond the change, high is
  if (guess > static_cast<double>(least)) {               // false of NaN
    at = guess < static_cast<double>(most) ? static_cast<int64_t>(guess) : most;
  }
#pragma unroll 1
  for (int64_t reach = 1; high - low > 1; reach *= 2) {
    const bool is_beyond = (u48 < unit.threshold(at)) == rises;
    (is_beyond ? high : low) = at;
    at = low + (high - low) / 2;
    if (low < least && high <= most && high - reach > least) at = high - reach;
    if (high > most && low >= least && low + reach < most) at = low + reach;
    at = at < least ? least : at > most ? most : at;
  }
  return {static_cast<int32_t>(low), static_cast<uint32_t>(rises)};
}

// Of a unit whose rows have noise of their own: slope v + offset is the logarithm to base 2 of
// exp(-a / noise_scale), or the cell of the table.
struct Squeeze {
  float slope, offset;
  float low, high;  // 65536 (1 - g) and 65536 (1 + g); no numbers where nothing is sure
};

constexpr double kSinglePrecision = 4e-7;  // a bound of the relative error of slope v + offset
constexpr double kExponentialError = 2e-5;  // far above that of power_of_two and what is done with it

__device__ inline Squeeze make_squeeze(const Unit& unit, int64_t most) {
  const bool is_logistic = unit.law == BSBN_LOGISTIC;
  const double factor = is_logistic ? -1.4426950408889634 / unit.noise_scale
                                    : 0.5 * kCells / table_reach(unit.law) / unit.noise_scale;
  const double slope = unit.step() * factor;
  const double offset = unit.pre_activation(0) * factor + (is_logistic ? 0.0 : 0.5 * kCells);
  const double size = (slope < 0 ? -slope : slope) * static_cast<double>(most) +
                      (offset < 0 ? -offset : offset);
  const double error = kSinglePrecision * size;
  const double g = is_logistic ? kExponentialError + error : 0.0;
  const bool is_sure = is_logistic ? g < 0.02 : error < 0.5;  // false of NaN and of infinity
  const double none = 0.0 / 0.0;  // nothing, not even infinity, is above or below it
  return {static_cast<float>(slope), static_cast<float>(offset),
          static_cast<float>(is_sure ? 65536.0 * (1.0 - g) : none),
          static_cast<float>(is_sure ? 65536.0 * (1.0 + g) : none)};
}

// Whether v and the leading bits of the uniform give +1 for sure, and whether they give -1 for sure.
struct Verdict {
  bool is_up, is_down;
};

// 2^t, to a relative error of 2^-22.
__device__ inline float power_of_two(float t) {
#if defined(BSBN_EMULATED)
  return exp2f(t);
#else
  float power;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(t));
  return power;
#endif
}

// Of the logistic law.  Where 2^t is infinite, -1 is sure, or, of u16 = 0, nothing.
__device__ inline Verdict compute(const Squeeze& squeeze, int32_t v, uint32_t u16) {
  const float t = fmaf(squeeze.slope, static_cast<float>(v), squeeze.offset);
  const float u = static_cast<float>(u16), w = 1.0f + power_of_two(t);
  return {fmaf(u, w, w) <= squeeze.low, u * w >= squeeze.high};
}

// Of the others.
__device__ inline Verdict look(const Squeeze& squeeze, const uint32_t* table, int32_t v, uint32_t u16) {
  float t = fmaf(squeeze.slope, static_cast<float>(v), squeeze.offset);
  t = t > 0.0f ? t : 0.0f;  // 0 of NaN, of whose unit nothing is sure
  t = t < kCells - 1.0f ? t : kCells - 1.0f;
  const uint32_t entry = table[static_cast<int32_t>(t)];
  const uint32_t low = entry & 0xFFFFu, high = low + (entry >> 16);
  const bool is_sure = squeeze.low > 0.0f;  // false of no number
  return {is_sure && u16 + 1 <= low, is_sure && u16 >= high};
}

__noinline__ __device__ bool decide_exactly(const CudaLayer& layer, int64_t position, int64_t unit,
                                            uint32_t row, int32_t v, uint32_t u16) {
  const Key key{static_cast<uint32_t>(layer.key0), static_cast<uint32_t>(layer.key1)};
  uint32_t w[4];
  philox(row, static_cast<uint32_t>(unit), static_cast<uint32_t>(layer.draws[position]),
         counter_word(layer.site, kRowNoiseTies), key, w);
  const int64_t u48 = static_cast<int64_t>(uint64_t{u16} << 32 | w[0]);
  return u48 < Unit(layer, position, unit).threshold(v);
}

// One of eight, without memory that is indexed.
template <class T>
__device__ inline T chosen(const T (&values)[8], int which) {
  T value = values[0];
#pragma unroll
  for (int i = 1; i < 8; ++i) value = i == which ? values[i] : value;
  return value;
}

// Activations of a unit in rows 8 j + 2 q + e of a group: bit 2 j + e of the result.
__device__ inline uint32_t decide_rows(const CudaLayer& layer, int64_t position, int64_t unit,
                                       const Squeeze& squeeze, int64_t group, const int32_t (&v)[8]) {
  const uint32_t q = threadIdx.x % 4;
  const Key key{static_cast<uint32_t>(layer.key0), static_cast<uint32_t>(layer.key1)};
  uint32_t words[4], u16[8];
  philox(static_cast<uint32_t>(4 * group) + q, static_cast<uint32_t>(unit),
         static_cast<uint32_t>(layer.draws[position]), counter_word(layer.site, kRowNoise), key, words);
  uint32_t up = 0, open = 0;
  const auto note = [&](int i, const Verdict& verdict) {
    up |= static_cast<uint32_t>(verdict.is_up) << i;
    open |= static_cast<uint32_t>(!verdict.is_up && !verdict.is_down) << i;
  };
#pragma unroll
  for (int i = 0; i < 8; ++i) u16[i] = words[i / 2] >> 16 * (i % 2) & 0xFFFFu;
  if (layer.table == nullptr) {
#pragma unroll
    for (int i = 0; i < 8; ++i) note(i, compute(squeeze, v[i], u16[i]));
  } else {
#pragma unroll
    for (int i = 0; i < 8; ++i) note(i, look(squeeze, layer.table, v[i], u16[i]));
  }
#pragma unroll 1
  for (; open != 0; open &= open - 1) {
    const int i = __ffs(static_cast<int>(open)) - 1;
    const uint32_t row = static_cast<uint32_t>(32 * group + 8 * (i / 2) + i % 2) + 2 * q;
    const bool is_up = decide_exactly(layer, position, unit, row, chosen(v, i), chosen(u16, i));
    up |= static_cast<uint32_t>(is_up) << i;
  }
  return up;
}

}  // namespace

#endif  // BSBN_CUDA_DECISIONS_CUH
