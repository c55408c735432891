// Philox4x32-10 on four 64-bit lanes at a time, whose upper halves may hold anything: vpmuludq does not
// read them.  Eight counters are two of these, even lanes and odd ones.
#ifndef BSBN_AVX2_COUNTERS_H
#define BSBN_AVX2_COUNTERS_H

#include <immintrin.h>

#include <cstdint>

#include "../block_rounds.h"

namespace {

using Vector = __m256i;

inline Vector broadcast(uint32_t value) { return _mm256_set1_epi64x(static_cast<int64_t>(value)); }
inline Vector dwords(uint32_t value) { return _mm256_set1_epi32(static_cast<int32_t>(value)); }
inline Vector high(Vector product) { return _mm256_shuffle_epi32(product, 0xF5); }
inline Vector combine(Vector a, Vector b, Vector c) { return _mm256_xor_si256(_mm256_xor_si256(a, b), c); }

// Four counters in 64-bit lanes.
struct Counters {
  Vector x0, x1, x2, x3;

  inline void round(Vector k0, Vector k1) {
    const Vector a = _mm256_mul_epu32(x0, broadcast(kM0));
    const Vector b = _mm256_mul_epu32(x2, broadcast(kM1));
    x0 = combine(high(b), x1, k0);
    x2 = combine(high(a), x3, k1);
    x1 = b;
    x3 = a;
  }
};

// Dword lanes of even and of odd units.
inline Vector merge(Vector even, Vector odd) {
  return _mm256_blend_epi32(even, _mm256_shuffle_epi32(odd, 0xA0), 0xAA);
}

}  // namespace

#endif  // BSBN_AVX2_COUNTERS_H
