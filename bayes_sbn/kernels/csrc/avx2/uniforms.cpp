// Uniforms with AVX2: eight counters at a time, products of even and of odd lanes.
#include <immintrin.h>

#include "../uniform_blocks.h"

namespace {

struct Words {
  static constexpr int lanes = 8;
  __m256i x;

  static Words broadcast(uint32_t value) { return {_mm256_set1_epi32(static_cast<int32_t>(value))}; }
  // The lanes of a block never carry into the high word: its first counter is a multiple of 16.
  static Words count(uint64_t first, int shift) {
    const __m256i word = _mm256_set1_epi32(static_cast<int32_t>(first >> shift));
    return {shift ? word : _mm256_add_epi32(word, _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))};
  }
  static void multiply(uint32_t m, Words value, Words* high, Words* low) {
    const __m256i factor = _mm256_set1_epi32(static_cast<int32_t>(m));
    const __m256i even = _mm256_mul_epu32(value.x, factor);
    const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(value.x, 32), factor);
    high->x = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
    low->x = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA);
  }
  static Words combine(Words a, Words b, Words c) {
    return {_mm256_xor_si256(_mm256_xor_si256(a.x, b.x), c.x)};
  }
  void store(uint32_t* target) const {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(target), x);
  }
};

}  // namespace

const bsbn::UniformKernels bsbn::uniforms_avx2 = {BSBN_AVX2, fill<Words>};
