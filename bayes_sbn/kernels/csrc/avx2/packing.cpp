// Packing kernels with AVX2: 256-bit comparisons and movemask; popcount by a table of nibbles.
#include <immintrin.h>

#include "../packing_rows.h"

namespace {

__m256i load_256(const void* values, int64_t offset_in_bytes) {
  const char* address = static_cast<const char*>(values) + offset_in_bytes;
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(address));
}

void store_256(void* values, int64_t offset_in_bytes, __m256i value) {
  char* address = static_cast<char*>(values) + offset_in_bytes;
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(address), value);
}

// Bytes 0xFF where the word has a one.
__m256i spread(uint32_t word) {
  const __m256i byte_of_lane =
      _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1,  //
                       2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
  const __m256i bit_of_lane = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201u));
  const __m256i bytes =
      _mm256_shuffle_epi8(_mm256_set1_epi32(static_cast<int32_t>(word)), byte_of_lane);
  return _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit_of_lane), bit_of_lane);
}

struct Words {
  static uint32_t pack(Float32, const void* values, uint32_t* wrong) {
    const __m256i magnitude = _mm256_set1_epi32(0x7FFFFFFF);
    const __m256i one = _mm256_set1_epi32(0x3F800000);
    uint32_t negative = 0;
    __m256i difference = _mm256_setzero_si256();
    for (int part = 0; part < 4; ++part) {
      const __m256i x = load_256(values, 32 * part);
      difference = _mm256_or_si256(difference,
                                   _mm256_xor_si256(_mm256_and_si256(x, magnitude), one));
      negative |= static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(x))) << (8 * part);
    }
    *wrong |= _mm256_testz_si256(difference, difference) ? 0u : 1u;
    return ~negative;
  }

  static uint32_t pack(Float64, const void* values, uint32_t* wrong) {
    const __m256i magnitude = _mm256_set1_epi64x(0x7FFFFFFFFFFFFFFF);
    const __m256i one = _mm256_set1_epi64x(0x3FF0000000000000);
    uint32_t negative = 0;
    __m256i difference = _mm256_setzero_si256();
    for (int part = 0; part < 8; ++part) {
      const __m256i x = load_256(values, 32 * part);
      difference = _mm256_or_si256(difference,
                                   _mm256_xor_si256(_mm256_and_si256(x, magnitude), one));
      negative |= static_cast<uint32_t>(_mm256_movemask_pd(_mm256_castsi256_pd(x))) << (4 * part);
    }
    *wrong |= _mm256_testz_si256(difference, difference) ? 0u : 1u;
    return ~negative;
  }

  static uint32_t pack(Int8, const void* values, uint32_t* wrong) {
    const __m256i x = load_256(values, 0);
    const uint32_t positive =
        static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(x, _mm256_set1_epi8(1))));
    const uint32_t negative =
        static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(x, _mm256_set1_epi8(-1))));
    *wrong |= ~(positive | negative);
    return positive;
  }

  static uint32_t pack(Bool, const void* values, uint32_t*) {
    const __m256i zero = _mm256_cmpeq_epi8(load_256(values, 0), _mm256_setzero_si256());
    return ~static_cast<uint32_t>(_mm256_movemask_epi8(zero));
  }

  static void unpack(Float32, uint32_t word, void* values) {
    const __m256i minus_one = _mm256_set1_epi32(static_cast<int32_t>(0xBF800000u));
    const __m256i up_to_sign = _mm256_setr_epi32(31, 30, 29, 28, 27, 26, 25, 24);
    const __m256i sign = _mm256_set1_epi32(static_cast<int32_t>(0x80000000u));
    for (int part = 0; part < 4; ++part) {
      const __m256i bits = _mm256_set1_epi32(static_cast<int32_t>(word >> (8 * part)));
      const __m256i flip = _mm256_and_si256(_mm256_sllv_epi32(bits, up_to_sign), sign);
      store_256(values, 32 * part, _mm256_xor_si256(minus_one, flip));
    }
  }

  static void unpack(Float64, uint32_t word, void* values) {
    const __m256i minus_one = _mm256_set1_epi64x(static_cast<int64_t>(0xBFF0000000000000u));
    const __m256i up_to_sign = _mm256_setr_epi64x(63, 62, 61, 60);
    const __m256i sign = _mm256_set1_epi64x(static_cast<int64_t>(0x8000000000000000u));
    for (int part = 0; part < 8; ++part) {
      const __m256i bits = _mm256_set1_epi64x(static_cast<int64_t>(word >> (4 * part)));
      const __m256i flip = _mm256_and_si256(_mm256_sllv_epi64(bits, up_to_sign), sign);
      store_256(values, 32 * part, _mm256_xor_si256(minus_one, flip));
    }
  }

  // 0xFF ^ 0xFE is 1, and 0xFF is -1.
  static void unpack(Int8, uint32_t word, void* values) {
    const __m256i flip = _mm256_and_si256(spread(word), _mm256_set1_epi8(static_cast<char>(0xFE)));
    store_256(values, 0, _mm256_xor_si256(_mm256_set1_epi8(-1), flip));
  }

  static void unpack(Bool, uint32_t word, void* values) {
    store_256(values, 0, _mm256_and_si256(spread(word), _mm256_set1_epi8(1)));
  }

  static int64_t count(const uint32_t* words, int64_t num_words) {
    const __m256i ones_of_nibble =
        _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,  //
                         0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
    const __m256i nibble = _mm256_set1_epi8(0x0F);
    __m256i total = _mm256_setzero_si256();
    int64_t k = 0;
    for (; k + 8 <= num_words; k += 8) {
      const __m256i x = load_256(words, 4 * k);
      const __m256i low = _mm256_and_si256(x, nibble);
      const __m256i high = _mm256_and_si256(_mm256_srli_epi16(x, 4), nibble);
      const __m256i ones = _mm256_add_epi8(_mm256_shuffle_epi8(ones_of_nibble, low),
                                           _mm256_shuffle_epi8(ones_of_nibble, high));
      total = _mm256_add_epi64(total, _mm256_sad_epu8(ones, _mm256_setzero_si256()));
    }
    int64_t count = _mm256_extract_epi64(total, 0) + _mm256_extract_epi64(total, 1) +
                    _mm256_extract_epi64(total, 2) + _mm256_extract_epi64(total, 3);
    for (; k < num_words; ++k) count += _mm_popcnt_u32(words[k]);
    return count;
  }
};

}  // namespace

const bsbn::PackingKernels bsbn::packing_avx2 = {BSBN_AVX2, pack_any<Words>, unpack_any<Words>,
                                                 popcount_any<Words>};
