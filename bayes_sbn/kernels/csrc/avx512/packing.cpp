// Packing kernels with AVX-512: comparisons straight into mask registers; VPOPCNTDQ.
#include <immintrin.h>

#include "../packing_rows.h"

namespace {

__m512i load_512(const void* values, int64_t offset_in_bytes) {
  return _mm512_loadu_si512(static_cast<const char*>(values) + offset_in_bytes);
}

void store_512(void* values, int64_t offset_in_bytes, __m512i value) {
  _mm512_storeu_si512(static_cast<char*>(values) + offset_in_bytes, value);
}

__m256i load_256(const void* values) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(values));
}

void store_256(void* values, __m256i value) {
  _mm256_storeu_si256(static_cast<__m256i*>(values), value);
}

struct Words {
  static uint32_t pack(Float32, const void* values, uint32_t* wrong) {
    const __m512i magnitude = _mm512_set1_epi32(0x7FFFFFFF);
    const __m512i one = _mm512_set1_epi32(0x3F800000);
    uint32_t negative = 0;
    for (int part = 0; part < 2; ++part) {
      const __m512i x = load_512(values, 64 * part);
      *wrong |= _mm512_cmpneq_epi32_mask(_mm512_and_si512(x, magnitude), one);
      negative |= static_cast<uint32_t>(_mm512_movepi32_mask(x)) << (16 * part);
    }
    return ~negative;
  }

  static uint32_t pack(Float64, const void* values, uint32_t* wrong) {
    const __m512i magnitude = _mm512_set1_epi64(0x7FFFFFFFFFFFFFFF);
    const __m512i one = _mm512_set1_epi64(0x3FF0000000000000);
    uint32_t negative = 0;
    for (int part = 0; part < 4; ++part) {
      const __m512i x = load_512(values, 64 * part);
      *wrong |= _mm512_cmpneq_epi64_mask(_mm512_and_si512(x, magnitude), one);
      negative |= static_cast<uint32_t>(_mm512_movepi64_mask(x)) << (8 * part);
    }
    return ~negative;
  }

  static uint32_t pack(Int8, const void* values, uint32_t* wrong) {
    const __m256i x = load_256(values);
    const uint32_t positive = _mm256_cmpeq_epi8_mask(x, _mm256_set1_epi8(1));
    *wrong |= ~(positive | _mm256_cmpeq_epi8_mask(x, _mm256_set1_epi8(-1)));
    return positive;
  }

  static uint32_t pack(Bool, const void* values, uint32_t*) {
    const __m256i x = load_256(values);
    return _mm256_test_epi8_mask(x, x);
  }

  static void unpack(Float32, uint32_t word, void* values) {
    const __m512i plus = _mm512_set1_epi32(0x3F800000);
    const __m512i minus = _mm512_set1_epi32(static_cast<int32_t>(0xBF800000u));
    for (int part = 0; part < 2; ++part) {
      const __mmask16 bits = static_cast<__mmask16>(word >> (16 * part));
      store_512(values, 64 * part, _mm512_mask_blend_epi32(bits, minus, plus));
    }
  }

  static void unpack(Float64, uint32_t word, void* values) {
    const __m512i plus = _mm512_set1_epi64(0x3FF0000000000000);
    const __m512i minus = _mm512_set1_epi64(static_cast<int64_t>(0xBFF0000000000000u));
    for (int part = 0; part < 4; ++part) {
      const __mmask8 bits = static_cast<__mmask8>(word >> (8 * part));
      store_512(values, 64 * part, _mm512_mask_blend_epi64(bits, minus, plus));
    }
  }

  static void unpack(Int8, uint32_t word, void* values) {
    store_256(values, _mm256_mask_blend_epi8(word, _mm256_set1_epi8(-1), _mm256_set1_epi8(1)));
  }

  static void unpack(Bool, uint32_t word, void* values) {
    store_256(values, _mm256_maskz_set1_epi8(word, 1));
  }

  static int64_t count(const uint32_t* words, int64_t num_words) {
    __m512i total = _mm512_setzero_si512();
    int64_t k = 0;
    for (; k + 16 <= num_words; k += 16) {
      total = _mm512_add_epi64(total, _mm512_popcnt_epi64(load_512(words, 4 * k)));
    }
    if (k < num_words) {
      const __mmask16 rest = static_cast<__mmask16>((1u << (num_words - k)) - 1u);
      const __m512i x = _mm512_maskz_loadu_epi32(rest, words + k);
      total = _mm512_add_epi64(total, _mm512_popcnt_epi64(x));
    }
    return _mm512_reduce_add_epi64(total);
  }
};

}  // namespace

const bsbn::PackingKernels bsbn::packing_avx512 = {BSBN_AVX512, pack_any<Words>, unpack_any<Words>,
                                                   popcount_any<Words>};
