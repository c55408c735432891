// Philox4x32-10 on eight 64-bit lanes at a time, whose upper halves may hold anything: vpmuludq does
// not read them.  Sixteen counters are two of these, even lanes and odd ones.
#ifndef BSBN_AVX512_COUNTERS_H
#define BSBN_AVX512_COUNTERS_H

#include <immintrin.h>

#include <cstdint>

#include "../block_rounds.h"

namespace {

using Vector = __m512i;

inline Vector broadcast(uint32_t value) { return _mm512_set1_epi64(static_cast<int64_t>(value)); }
inline Vector high(Vector product) { return _mm512_shuffle_epi32(product, static_cast<_MM_PERM_ENUM>(0xF5)); }
inline Vector combine(Vector a, Vector b, Vector c) { return _mm512_ternarylogic_epi32(a, b, c, 0x96); }

// Eight counters in 64-bit lanes.
struct Counters {
  Vector x0, x1, x2, x3;

  inline void round(Vector k0, Vector k1) {
    const Vector a = _mm512_mul_epu32(x0, _mm512_set1_epi64(kM0));
    const Vector b = _mm512_mul_epu32(x2, _mm512_set1_epi64(kM1));
    x0 = combine(high(b), x1, k0);
    x2 = combine(high(a), x3, k1);
    x1 = b;
    x3 = a;
  }
};

// Dword lanes of even and of odd units.
inline Vector merge(Vector even, Vector odd) {
  return _mm512_mask_shuffle_epi32(even, 0xAAAA, odd, static_cast<_MM_PERM_ENUM>(0xA0));
}

}  // namespace

#endif  // BSBN_AVX512_COUNTERS_H
