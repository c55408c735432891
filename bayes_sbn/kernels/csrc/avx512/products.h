// Products of the 16 units of a block with rows, units in the lanes of a register of AVX-512.
//
// Included by the files of instruction sets, hence nothing here may have external linkage.
#ifndef BSBN_AVX512_PRODUCTS_H
#define BSBN_AVX512_PRODUCTS_H

#include <immintrin.h>

#include "../word_rows.h"
#include "counters.h"

namespace {

class WideProducts : public WordRows<WideProducts> {
 public:
  // Sixteen words of sixteen units at a time, transposed in registers.
  static void load_block(const uint32_t* source, int64_t words, int number, uint32_t* weights) {
    for (int64_t word = 0; word < words; word += kLanes) {
      const int count = static_cast<int>(words - word < kLanes ? words - word : kLanes);
      const __mmask16 there = static_cast<__mmask16>((1u << count) - 1);
      Vector row[kLanes];
      for (int l = 0; l < kLanes; ++l) {
        row[l] = l < number ? _mm512_maskz_loadu_epi32(there, source + l * words + word) : _mm512_setzero_si512();
      }
      transpose(row);
      for (int w = 0; w < count; ++w) _mm512_storeu_si512(weights + (word + w) * kLanes, row[w]);
    }
  }

  static void store_block(const uint32_t* weights, int64_t words, int number, uint32_t* target) {
    for (int64_t word = 0; word < words; word += kLanes) {
      const int count = static_cast<int>(words - word < kLanes ? words - word : kLanes);
      const __mmask16 there = static_cast<__mmask16>((1u << count) - 1);
      Vector row[kLanes];
      for (int w = 0; w < kLanes; ++w) {
        row[w] = w < count ? _mm512_loadu_si512(weights + (word + w) * kLanes) : _mm512_setzero_si512();
      }
      transpose(row);
      for (int l = 0; l < number; ++l) _mm512_mask_storeu_epi32(target + l * words + word, there, row[l]);
    }
  }

  static void mismatches(const uint32_t* weights, const uint32_t* rows, int64_t row_stride, int64_t word_stride,
                         int64_t words, int number, int32_t (*v)[kLanes]) {
    const Strides strides{row_stride, word_stride};
    int r = 0;
    for (; r + 8 <= number; r += 8) some_mismatches<8>(weights, rows + r * row_stride, strides, words, v + r);
    for (; r + 2 <= number; r += 2) some_mismatches<2>(weights, rows + r * row_stride, strides, words, v + r);
    if (r < number) some_mismatches<1>(weights, rows + r * row_stride, strides, words, v + r);
  }

  // Products of pairs: two inputs of a row in each lane, times the two signs of the lane's unit.
  static void dots(const uint32_t* weights, const int16_t* rows, int64_t inputs, int number,
                   int32_t (*v)[kLanes]) {
    int r = 0;
    for (; r + 8 <= number; r += 8) some_dots<8>(weights, rows + r * inputs, inputs, v + r);
    for (; r < number; ++r) some_dots<1>(weights, rows + r * inputs, inputs, v + r);
  }

 private:
  struct Strides {
    int64_t row, word;
  };

  static inline void transpose(Vector (&row)[kLanes]) {
    Vector pairs[kLanes], quads[kLanes];
    for (int i = 0; i < kLanes; i += 2) {
      pairs[i] = _mm512_unpacklo_epi32(row[i], row[i + 1]);
      pairs[i + 1] = _mm512_unpackhi_epi32(row[i], row[i + 1]);
    }
    for (int i = 0; i < kLanes; i += 4) {
      for (int half = 0; half < 2; ++half) {
        quads[i + 2 * half] = _mm512_unpacklo_epi64(pairs[i + half], pairs[i + 2 + half]);
        quads[i + 2 * half + 1] = _mm512_unpackhi_epi64(pairs[i + half], pairs[i + 2 + half]);
      }
    }
    // quads[4 i + c] has column 4 lane + c, of rows 4 i to 4 i + 3, in its lane of 128 bits
    for (int c = 0; c < 4; ++c) {
      const Vector a = _mm512_shuffle_i32x4(quads[c], quads[4 + c], 0x88);
      const Vector b = _mm512_shuffle_i32x4(quads[8 + c], quads[12 + c], 0x88);
      const Vector d = _mm512_shuffle_i32x4(quads[c], quads[4 + c], 0xDD);
      const Vector e = _mm512_shuffle_i32x4(quads[8 + c], quads[12 + c], 0xDD);
      row[c] = _mm512_shuffle_i32x4(a, b, 0x88);
      row[8 + c] = _mm512_shuffle_i32x4(a, b, 0xDD);
      row[4 + c] = _mm512_shuffle_i32x4(d, e, 0x88);
      row[12 + c] = _mm512_shuffle_i32x4(d, e, 0xDD);
    }
  }

  // Two words at a time, in a half adder that takes their differences from the weights with it: with
  // t = ones ^ x0 ^ w0 and s = t ^ x1 ^ w1, what is carried is s = 0 where t, and else `ones`.  Five
  // operations for 1024 bits, where a popcount of each word takes six.
  template <int n>
  static inline void some_mismatches(const uint32_t* weights, const uint32_t* rows, Strides strides,
                                     int64_t words, int32_t (*v)[kLanes]) {
    Vector ones[n], twos[n];
    for (int r = 0; r < n; ++r) ones[r] = twos[r] = _mm512_setzero_si512();
    int64_t word = 0;
    for (; word + 2 <= words; word += 2) {
      const Vector w0 = _mm512_loadu_si512(weights + word * kLanes);
      const Vector w1 = _mm512_loadu_si512(weights + (word + 1) * kLanes);
      for (int r = 0; r < n; ++r) {
        const uint32_t* const x = rows + r * strides.row + word * strides.word;
        const Vector t = combine(_mm512_set1_epi32(static_cast<int32_t>(x[0])), ones[r], w0);
        const Vector s = combine(_mm512_set1_epi32(static_cast<int32_t>(x[strides.word])), t, w1);
        const Vector carry = _mm512_ternarylogic_epi32(ones[r], t, s, 0x74);  // t ? ~s : ones
        twos[r] = _mm512_add_epi32(twos[r], _mm512_popcnt_epi32(carry));
        ones[r] = s;
      }
    }
    for (int r = 0; r < n; ++r) {
      Vector sum = _mm512_add_epi32(_mm512_add_epi32(twos[r], twos[r]), _mm512_popcnt_epi32(ones[r]));
      if (word < words) {
        const Vector w = _mm512_loadu_si512(weights + word * kLanes);
        const Vector x = _mm512_set1_epi32(static_cast<int32_t>(rows[r * strides.row + word * strides.word]));
        sum = _mm512_add_epi32(sum, _mm512_popcnt_epi32(_mm512_xor_si512(w, x)));
      }
      _mm512_store_si512(v[r], sum);
    }
  }

  template <int n>
  static inline void some_dots(const uint32_t* weights, const int16_t* rows, int64_t inputs,
                               int32_t (*v)[kLanes]) {
    // two bits of a weight word to two signs of 16 bits
    const Vector signs = _mm512_setr_epi32(
        static_cast<int32_t>(0xFFFFFFFFu), static_cast<int32_t>(0xFFFF0001u), 0x0001FFFF, 0x00010001,
        static_cast<int32_t>(0xFFFFFFFFu), static_cast<int32_t>(0xFFFF0001u), 0x0001FFFF, 0x00010001,
        static_cast<int32_t>(0xFFFFFFFFu), static_cast<int32_t>(0xFFFF0001u), 0x0001FFFF, 0x00010001,
        static_cast<int32_t>(0xFFFFFFFFu), static_cast<int32_t>(0xFFFF0001u), 0x0001FFFF, 0x00010001);
    Vector sum[n];
    for (int r = 0; r < n; ++r) sum[r] = _mm512_setzero_si512();
    for (int64_t word = 0; 32 * word < inputs; ++word) {
      Vector w = _mm512_loadu_si512(weights + word * kLanes);
      const int64_t pairs = inputs - 32 * word >= 32 ? 16 : (inputs - 32 * word) / 2;
      for (int64_t pair = 0; pair < pairs; ++pair) {
        const Vector sign = _mm512_permutexvar_epi32(w, signs);
        w = _mm512_srli_epi32(w, 2);
        for (int r = 0; r < n; ++r) {
          int32_t two;
          std::memcpy(&two, rows + r * inputs + 32 * word + 2 * pair, sizeof two);
          sum[r] = _mm512_add_epi32(sum[r], _mm512_madd_epi16(sign, _mm512_set1_epi32(two)));
        }
      }
      if (2 * pairs < 32 && 32 * word + 2 * pairs < inputs) {  // one input more
        const Vector sign = _mm512_permutexvar_epi32(w, signs);
        for (int r = 0; r < n; ++r) {
          const int32_t one = rows[r * inputs + inputs - 1] & 0xFFFF;
          sum[r] = _mm512_add_epi32(sum[r], _mm512_madd_epi16(sign, _mm512_set1_epi32(one)));
        }
      }
    }
    for (int r = 0; r < n; ++r) _mm512_store_si512(v[r], sum[r]);
  }
};

}  // namespace

#endif  // BSBN_AVX512_PRODUCTS_H
