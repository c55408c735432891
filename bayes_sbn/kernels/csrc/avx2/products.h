// Products of the 16 units of a block with rows, units in the lanes of two registers of AVX2.
//
// Included by the files of instruction sets, hence nothing here may have external linkage.
#ifndef BSBN_AVX2_PRODUCTS_H
#define BSBN_AVX2_PRODUCTS_H

#include <immintrin.h>

#include "../word_rows.h"
#include "counters.h"

namespace {

class HalfProducts : public WordRows<HalfProducts> {
 public:
  static void mismatches(const uint32_t* weights, const uint32_t* rows, int64_t row_stride, int64_t word_stride,
                         int64_t words, int number, int32_t (*v)[kLanes]) {
    int r = 0;
    for (; r + 2 <= number; r += 2) {
      some_mismatches<2>(weights, rows + r * row_stride, row_stride, word_stride, words, v + r);
    }
    if (r < number) some_mismatches<1>(weights, rows + r * row_stride, row_stride, word_stride, words, v + r);
  }

  // Products of pairs: two inputs of a row in each lane, times the two signs of the lane's unit.
  static void dots(const uint32_t* weights, const int16_t* rows, int64_t inputs, int number,
                   int32_t (*v)[kLanes]) {
    int r = 0;
    for (; r + 4 <= number; r += 4) some_dots<4>(weights, rows + r * inputs, inputs, v + r);
    for (; r < number; ++r) some_dots<1>(weights, rows + r * inputs, inputs, v + r);
  }

 private:
  static constexpr int kHalves = 2;  // of a block, eight units each

  // The bits of each byte, by a look at its halves.
  static inline Vector count_bytes(Vector x) {
    const Vector counts = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,  //
                                           0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
    const Vector mask = _mm256_set1_epi8(0x0F);
    const Vector low = _mm256_shuffle_epi8(counts, _mm256_and_si256(x, mask));
    const Vector top = _mm256_shuffle_epi8(counts, _mm256_and_si256(_mm256_srli_epi16(x, 4), mask));
    return _mm256_add_epi8(low, top);
  }

  // The sum of the four bytes of each dword.
  static inline Vector add_bytes(Vector x) {
    return _mm256_madd_epi16(_mm256_maddubs_epi16(x, _mm256_set1_epi8(1)), _mm256_set1_epi16(1));
  }

  // Two words at a time in a full adder, whose carries are counted byte by byte, up to 31 of them before
  // a byte is full.
  template <int n>
  static inline void some_mismatches(const uint32_t* weights, const uint32_t* rows, int64_t row_stride,
                                     int64_t word_stride, int64_t words, int32_t (*v)[kLanes]) {
    Vector ones[n][kHalves], twos[n][kHalves];
    for (int r = 0; r < n; ++r) {
      for (int h = 0; h < kHalves; ++h) ones[r][h] = twos[r][h] = _mm256_setzero_si256();
    }
    int64_t word = 0;
    while (word + 2 <= words) {
      const int64_t end = words - word > 62 ? word + 62 : words;
      Vector bytes[n][kHalves];
      for (int r = 0; r < n; ++r) {
        for (int h = 0; h < kHalves; ++h) bytes[r][h] = _mm256_setzero_si256();
      }
      for (; word + 2 <= end; word += 2) {
        for (int r = 0; r < n; ++r) {
          const uint32_t* const at = rows + r * row_stride + word * word_stride;
          const Vector x0 = dwords(at[0]), x1 = dwords(at[word_stride]);
          for (int h = 0; h < kHalves; ++h) {
            const uint32_t* const w = weights + word * kLanes + 8 * h;
            const Vector a = _mm256_xor_si256(x0, load(w)), b = _mm256_xor_si256(x1, load(w + kLanes));
            const Vector either = _mm256_xor_si256(a, b);
            const Vector carry =
                _mm256_or_si256(_mm256_and_si256(a, b), _mm256_and_si256(either, ones[r][h]));
            ones[r][h] = _mm256_xor_si256(either, ones[r][h]);
            bytes[r][h] = _mm256_add_epi8(bytes[r][h], count_bytes(carry));
          }
        }
      }
      for (int r = 0; r < n; ++r) {
        for (int h = 0; h < kHalves; ++h) twos[r][h] = _mm256_add_epi32(twos[r][h], add_bytes(bytes[r][h]));
      }
    }
    for (int r = 0; r < n; ++r) {
      for (int h = 0; h < kHalves; ++h) {
        Vector bytes = count_bytes(ones[r][h]);
        if (word < words) {
          const Vector x = dwords(rows[r * row_stride + word * word_stride]);
          const Vector rest = _mm256_xor_si256(x, load(weights + word * kLanes + 8 * h));
          bytes = _mm256_add_epi8(bytes, count_bytes(rest));
        }
        const Vector sum = _mm256_add_epi32(_mm256_add_epi32(twos[r][h], twos[r][h]), add_bytes(bytes));
        store(v[r] + 8 * h, sum);
      }
    }
  }

  template <int n>
  static inline void some_dots(const uint32_t* weights, const int16_t* rows, int64_t inputs,
                               int32_t (*v)[kLanes]) {
    // two bits of a weight word to two signs of 16 bits
    const int32_t both = static_cast<int32_t>(0xFFFFFFFFu), first = static_cast<int32_t>(0xFFFF0001u);
    const Vector signs = _mm256_setr_epi32(both, first, 0x0001FFFF, 0x00010001, both, first, 0x0001FFFF, 0x00010001);
    Vector sum[n][kHalves];
    for (int r = 0; r < n; ++r) sum[r][0] = sum[r][1] = _mm256_setzero_si256();
    for (int64_t word = 0; 32 * word < inputs; ++word) {
      Vector w[kHalves] = {load(weights + word * kLanes), load(weights + word * kLanes + 8)};
      const int64_t left = inputs - 32 * word < 32 ? inputs - 32 * word : 32;
      for (int64_t i = 0; i < left; i += 2) {
        const Vector sign[kHalves] = {_mm256_permutevar8x32_epi32(signs, w[0]), _mm256_permutevar8x32_epi32(signs, w[1])};
        w[0] = _mm256_srli_epi32(w[0], 2);
        w[1] = _mm256_srli_epi32(w[1], 2);
        for (int r = 0; r < n; ++r) {
          const int16_t* const at = rows + r * inputs + 32 * word + i;
          int32_t two;
          if (i + 1 < left) {
            std::memcpy(&two, at, sizeof two);
          } else {  // one input, where they are at their end
            two = *at & 0xFFFF;
          }
          for (int h = 0; h < kHalves; ++h) {
            sum[r][h] = _mm256_add_epi32(sum[r][h], _mm256_madd_epi16(sign[h], _mm256_set1_epi32(two)));
          }
        }
      }
    }
    for (int r = 0; r < n; ++r) {
      for (int h = 0; h < kHalves; ++h) store(v[r] + 8 * h, sum[r][h]);
    }
  }

 protected:
  static inline Vector load(const void* from) { return _mm256_loadu_si256(static_cast<const __m256i*>(from)); }
  static inline void store(void* to, Vector x) { _mm256_storeu_si256(static_cast<__m256i*>(to), x); }
};

}  // namespace

#endif  // BSBN_AVX2_PRODUCTS_H
