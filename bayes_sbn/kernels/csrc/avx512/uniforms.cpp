// Uniforms with AVX-512: sixteen counters at a time, products of even and of odd lanes.
#include <immintrin.h>

#include "../uniform_blocks.h"

namespace {

struct Words {
  static constexpr int lanes = 16;
  __m512i x;

  static Words broadcast(uint32_t value) { return {_mm512_set1_epi32(static_cast<int32_t>(value))}; }
  // The lanes of a block never carry into the high word: its first counter is a multiple of 16.
  static Words count(uint64_t first, int shift) {
    const __m512i word = _mm512_set1_epi32(static_cast<int32_t>(first >> shift));
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    return {shift ? word : _mm512_add_epi32(word, lane)};
  }
  static void multiply(uint32_t m, Words value, Words* high, Words* low) {
    const __m512i factor = _mm512_set1_epi32(static_cast<int32_t>(m));
    const __m512i even = _mm512_mul_epu32(value.x, factor);
    const __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(value.x, 32), factor);
    high->x = _mm512_mask_blend_epi32(0xAAAA, _mm512_srli_epi64(even, 32), odd);
    low->x = _mm512_mask_blend_epi32(0xAAAA, even, _mm512_slli_epi64(odd, 32));
  }
  static Words combine(Words a, Words b, Words c) {
    return {_mm512_ternarylogic_epi32(a.x, b.x, c.x, 0x96)};
  }
  void store(uint32_t* target) const { _mm512_storeu_si512(target, x); }
};

}  // namespace

const bsbn::UniformKernels bsbn::uniforms_avx512 = {BSBN_AVX512, fill<Words>};
