// The 16 units of a block as the lanes of two registers of AVX2.
//
// Included by the files of instruction sets, hence nothing here may have external linkage.
#ifndef BSBN_AVX2_LANES_H
#define BSBN_AVX2_LANES_H

#include "../ensemble_lanes.h"
#include "products.h"

namespace {

class HalfLanes : public HalfProducts {
 public:
  HalfLanes() = default;
  HalfLanes(Key key, uint32_t draw, uint32_t unit) : key_(key), draw_(draw), unit_(unit) {
    const Vector first = broadcast(CommonRounds::first(draw, key));
    for (uint32_t part = 0; part < kQuarters; ++part) {
      const Vector lane = _mm256_add_epi64(_mm256_setr_epi64x(0, 2, 4, 6), broadcast(unit + part / 2 * 8 + part % 2));
      store(product_ + part, _mm256_mul_epu32(_mm256_xor_si256(lane, first), broadcast(kM0)));
    }
  }

  void words(uint32_t c0, uint32_t c3, uint32_t (*w)[kLanes]) const {
    const CommonRounds common(c0, c3, draw_, key_);
    for (int half = 0; half < 2; ++half) {
      Counters c[2];
      for (int odd = 0; odd < 2; ++odd) {
        const Vector product = load(product_ + 2 * half + odd);
        const Vector b3 = _mm256_mul_epu32(_mm256_xor_si256(high(product), broadcast(common.second)), broadcast(kM1));
        c[odd].x0 = _mm256_xor_si256(high(b3), broadcast(common.third));
        c[odd].x1 = b3;
        c[odd].x2 = _mm256_xor_si256(product, broadcast(common.fourth));
        c[odd].x3 = broadcast(common.last);
      }
      run_rounds(3, c);
      store(w[0] + 8 * half, merge(c[0].x0, c[1].x0));
      store(w[1] + 8 * half, merge(c[0].x1, c[1].x1));
      store(w[2] + 8 * half, merge(c[0].x2, c[1].x2));
      store(w[3] + 8 * half, merge(c[0].x3, c[1].x3));
    }
  }

  void two_words(uint32_t c0, uint32_t c3, uint32_t (*w)[4][kLanes]) const {
    words(c0, c3, w[0]);
    words(c0 + 1, c3, w[1]);
  }

  int64_t draw_word(const uint32_t* q, int64_t site, int64_t inputs, int64_t word, uint32_t* weights,
                    Tie* ties) const {
    alignas(32) uint32_t r[8][kLanes], open[kLanes];
    words(static_cast<uint32_t>(word), counter_word(site, kWeights, 0), r);
    words(static_cast<uint32_t>(word), counter_word(site, kWeights, 1), r + 4);
    const Vector valid = dwords(valid_bits(inputs, word));
    uint32_t is_open = 0;
    for (int half = 0; half < 2; ++half) {
      const Vector ones = load(q + 8 * half);
      Vector below = _mm256_setzero_si256(), same = _mm256_andnot_si256(ones, valid);
      for (int plane = 7; plane >= 0; --plane) {
        const Vector one = load(q + (plane + 1) * kLanes + 8 * half);
        const Vector differ = _mm256_xor_si256(load(r[plane] + 8 * half), one);
        // differ ? one : below
        below = _mm256_xor_si256(below, _mm256_and_si256(_mm256_xor_si256(below, one), differ));
        same = _mm256_andnot_si256(differ, same);
      }
      store(weights + word * kLanes + 8 * half, _mm256_or_si256(below, ones));
      store(open + 8 * half, same);
      const Vector is_settled = _mm256_cmpeq_epi32(same, _mm256_setzero_si256());
      const int settled = _mm256_movemask_ps(_mm256_castsi256_ps(is_settled));
      is_open |= (~static_cast<uint32_t>(settled) & 0xFFu) << (8 * half);
    }
    int64_t number = 0;
    for (; is_open != 0; is_open &= is_open - 1) {
      const uint32_t lane = static_cast<uint32_t>(__builtin_ctz(is_open));
      ties[number++] = {static_cast<uint32_t>(word) * kLanes + lane, open[lane]};
    }
    return number;
  }

  // Eight words at a time by planes 9 to 12, which settle all but one weight of 16; the rest one by one.
  void settle(const uint32_t* cold, int64_t site, const Tie* ties, int64_t number, uint32_t* weights) const {
    int64_t done = 0;
    for (; done + 8 <= number; done += 8) {
      const Vector first = load(ties + done), second = load(ties + done + 4);
      const Vector evens = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
      const Vector a = _mm256_permutevar8x32_epi32(first, evens), b = _mm256_permutevar8x32_epi32(second, evens);
      const Vector places = _mm256_permute2x128_si256(a, b, 0x20);
      Vector open = _mm256_permute2x128_si256(a, b, 0x31);
      Vector r[4];
      words_of_places(places, counter_word(site, kWeights, 2), r);
      Vector below = _mm256_setzero_si256();
      const Vector start = _mm256_mullo_epi32(places, dwords(kColdPlanes));
      for (int plane = 0; plane < 4; ++plane) {
        const Vector at = _mm256_add_epi32(start, dwords(static_cast<uint32_t>(plane)));
        const Vector q = _mm256_i32gather_epi32(reinterpret_cast<const int*>(cold), at, 4);
        below = _mm256_or_si256(below, _mm256_andnot_si256(r[plane], _mm256_and_si256(open, q)));
        open = _mm256_andnot_si256(_mm256_xor_si256(r[plane], q), open);
      }
      alignas(32) uint32_t place[8], settled[8], still[8];
      store(place, places);
      store(settled, below);
      store(still, open);
      for (int t = 0; t < 8; ++t) {
        uint32_t word = settled[t];
        if (still[t] != 0) {
          word |= settle_word(cold + int64_t{place[t]} * kColdPlanes, site, place[t] / kLanes,
                              unit_ + place[t] % kLanes, draw_, key_, still[t], 3);
        }
        weights[place[t]] |= word;
      }
    }
    for (; done < number; ++done) {
      const uint32_t place = ties[done].place;
      weights[place] |= settle_word(cold + int64_t{place} * kColdPlanes, site, place / kLanes,
                                    unit_ + place % kLanes, draw_, key_, ties[done].open, 2);
    }
  }

  static uint32_t at_most(const Bounds& bounds, const int32_t* v) {
    uint32_t beyond = 0;
    for (int half = 0; half < 2; ++half) {
      const Vector is_beyond = _mm256_cmpgt_epi32(load(v + 8 * half), load(bounds.bound + 8 * half));
      beyond |= bits_of(_mm256_castsi256_ps(is_beyond)) << (8 * half);
    }
    return ~beyond & 0xFFFFu;
  }

  static void look(const Squeeze& s, int64_t law, const bsbn::ActivationTables& tables, const int32_t (*v)[kLanes],
                   const uint32_t* words, uint32_t* up, uint32_t* open) {
    uint32_t first, second;
    *up = squeeze(s, law, tables.cells, v[0], words, 0, &first);
    *up |= squeeze(s, law, tables.cells, v[1], words, 16, &second) << 16;
    *open = (first & 0xFFFFu) | second << 16;
  }

  static inline uint32_t squeeze(const Squeeze& s, int64_t law, const uint32_t* cells, const int32_t* v,
                                 const uint32_t* words, int shift, uint32_t* open) {
    uint32_t up = 0, down = 0;
    for (int half = 0; half < 2; ++half) {
      const int at = 8 * half;
      const Vector u16 = _mm256_and_si256(_mm256_srl_epi32(load(words + at), _mm_cvtsi32_si128(shift)), dwords(0xFFFF));
      const __m256 t = _mm256_fmadd_ps(_mm256_cvtepi32_ps(load(v + at)), _mm256_loadu_ps(s.slope + at),
                                       _mm256_loadu_ps(s.offset + at));
      const __m256 low = _mm256_loadu_ps(s.low + at), top = _mm256_loadu_ps(s.high + at);
      if (law == BSBN_LOGISTIC) {
        const __m256 w = one_and_power_of_two(t), u = _mm256_cvtepi32_ps(u16);
        up |= bits_of(_mm256_cmp_ps(_mm256_fmadd_ps(u, w, w), low, _CMP_LE_OQ)) << at;
        down |= bits_of(_mm256_cmp_ps(_mm256_mul_ps(u, w), top, _CMP_GE_OQ)) << at;
      } else {
        const __m256 cell = _mm256_min_ps(_mm256_max_ps(t, _mm256_setzero_ps()), _mm256_set1_ps(kCells - 1.0f));
        const Vector entry = _mm256_i32gather_epi32(reinterpret_cast<const int*>(cells), _mm256_cvttps_epi32(cell), 4);
        const Vector least = _mm256_and_si256(entry, dwords(0xFFFF));
        const Vector most = _mm256_add_epi32(least, _mm256_srli_epi32(entry, 16));
        const uint32_t is_sure = bits_of(_mm256_cmp_ps(low, _mm256_setzero_ps(), _CMP_GT_OQ));
        const Vector is_down = _mm256_cmpgt_epi32(most, u16);  // not
        up |= (is_sure & bits_of(_mm256_castsi256_ps(_mm256_cmpgt_epi32(least, u16)))) << at;
        down |= (is_sure & ~bits_of(_mm256_castsi256_ps(is_down))) << at;
      }
    }
    *open = ~(up | down);
    return up;
  }

 private:
  static constexpr uint32_t kQuarters = 4;  // of the 16 units, in 64-bit lanes: even and odd ones of a half

  static uint32_t bits_of(__m256 mask) { return static_cast<uint32_t>(_mm256_movemask_ps(mask)); }

  // 1 + 2^t, of relative error below 1e-5; |t| is bounded by 45.
  static inline __m256 one_and_power_of_two(__m256 t) {
    t = _mm256_min_ps(_mm256_max_ps(t, _mm256_set1_ps(-45.0f)), _mm256_set1_ps(45.0f));
    const __m256 magic = _mm256_set1_ps(12582912.0f);
    const __m256 shifted = _mm256_add_ps(t, magic);  // its low bits are the nearest integer
    const __m256 f = _mm256_sub_ps(t, _mm256_sub_ps(shifted, magic));
    __m256 p = _mm256_set1_ps(9.5605102e-3f);
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(5.5917039e-2f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(2.4024981e-1f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(6.9312197e-1f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(0.99999919f));
    const Vector power = _mm256_slli_epi32(_mm256_castps_si256(shifted), 23);
    const Vector value = _mm256_add_epi32(_mm256_castps_si256(p), power);
    return _mm256_add_ps(_mm256_castsi256_ps(value), _mm256_set1_ps(1.0f));
  }

  // Rounds from one on, of even and odd lanes.
  inline void run_rounds(uint32_t round, Counters (&c)[2]) const {
    uint32_t k0 = key_.k0 + round * kW0, k1 = key_.k1 + round * kW1;
    for (; round < 10; ++round) {
      const Vector vk0 = broadcast(k0), vk1 = broadcast(k1);
      c[0].round(vk0, vk1);
      c[1].round(vk0, vk1);
      k0 += kW0;
      k1 += kW1;
    }
  }

  // Words of Philox at (place / 16, unit + place % 16, draw, c3) for eight places.
  void words_of_places(Vector places, uint32_t c3, Vector (&w)[4]) const {
    const Vector word = _mm256_srli_epi32(places, 4);
    const Vector unit = _mm256_add_epi32(_mm256_and_si256(places, dwords(15)), dwords(unit_));
    Counters c[2];
    for (int odd = 0; odd < 2; ++odd) {
      c[odd].x0 = odd ? _mm256_srli_epi64(word, 32) : word;
      c[odd].x1 = odd ? _mm256_srli_epi64(unit, 32) : unit;
      c[odd].x2 = broadcast(draw_);
      c[odd].x3 = broadcast(c3);
    }
    run_rounds(0, c);
    w[0] = merge(c[0].x0, c[1].x0);
    w[1] = merge(c[0].x1, c[1].x1);
    w[2] = merge(c[0].x2, c[1].x2);
    w[3] = merge(c[0].x3, c[1].x3);
  }

  Key key_;
  uint32_t draw_, unit_;
  uint64_t product_[kQuarters][4];
};

}  // namespace

#endif  // BSBN_AVX2_LANES_H
