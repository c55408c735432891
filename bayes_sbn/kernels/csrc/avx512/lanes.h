// The 16 units of a block as the lanes of a register of AVX-512.
//
// Included by the files of instruction sets, hence nothing here may have external linkage.
#ifndef BSBN_AVX512_LANES_H
#define BSBN_AVX512_LANES_H

#include <immintrin.h>

#include "../ensemble_lanes.h"
#include "counters.h"
#include "products.h"

namespace {

class WideLanes : public WideProducts {
 public:
  WideLanes() = default;
  WideLanes(Key key, uint32_t draw, uint32_t unit) : key_(key), draw_(draw), unit_(unit) {
    const Vector lane = _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14);
    const Vector first = _mm512_add_epi64(lane, broadcast(unit));
    const Vector common = broadcast(CommonRounds::first(draw, key));
    for (int odd = 0; odd < 2; ++odd) {
      const Vector x0 = _mm512_xor_si512(_mm512_add_epi64(first, broadcast(static_cast<uint32_t>(odd))), common);
      product_[odd] = _mm512_mul_epu32(x0, _mm512_set1_epi64(kM0));
    }
  }

  // Words of `n` counters (c0[i], c3[i]), which have the units in their lanes.
  template <int n>
  inline void philox(const uint32_t (&c0)[n], const uint32_t (&c3)[n], Vector (*w)[4]) const {
    Counters c[n][2];
    for (int i = 0; i < n; ++i) {
      const CommonRounds common(c0[i], c3[i], draw_, key_);
      for (int odd = 0; odd < 2; ++odd) {
        const Vector y2 = _mm512_xor_si512(high(product_[odd]), broadcast(common.second));
        const Vector b3 = _mm512_mul_epu32(y2, _mm512_set1_epi64(kM1));
        c[i][odd].x0 = _mm512_xor_si512(high(b3), broadcast(common.third));
        c[i][odd].x1 = b3;
        c[i][odd].x2 = _mm512_xor_si512(product_[odd], broadcast(common.fourth));
        c[i][odd].x3 = broadcast(common.last);
      }
    }
    uint32_t k0 = key_.k0 + 2 * kW0, k1 = key_.k1 + 2 * kW1;
    for (int round = 3; round < 10; ++round) {
      k0 += kW0;
      k1 += kW1;
      const Vector vk0 = broadcast(k0), vk1 = broadcast(k1);
      for (int i = 0; i < n; ++i) {
        c[i][0].round(vk0, vk1);
        c[i][1].round(vk0, vk1);
      }
    }
    for (int i = 0; i < n; ++i) {
      w[i][0] = merge(c[i][0].x0, c[i][1].x0);
      w[i][1] = merge(c[i][0].x1, c[i][1].x1);
      w[i][2] = merge(c[i][0].x2, c[i][1].x2);
      w[i][3] = merge(c[i][0].x3, c[i][1].x3);
    }
  }

  void words(uint32_t c0, uint32_t c3, uint32_t (*w)[kLanes]) const {
    Vector found[1][4];
    philox<1>({c0}, {c3}, found);
    for (int word = 0; word < 4; ++word) _mm512_storeu_si512(w[word], found[0][word]);
  }

  void two_words(uint32_t c0, uint32_t c3, uint32_t (*w)[4][kLanes]) const {
    Vector found[2][4];
    philox<2>({c0, c0 + 1}, {c3, c3}, found);
    for (int word = 0; word < 4; ++word) {
      _mm512_store_si512(w[0][word], found[0][word]);
      _mm512_store_si512(w[1][word], found[1][word]);
    }
  }

  int64_t draw_word(const uint32_t* q, int64_t site, int64_t inputs, int64_t word, uint32_t* weights,
                    Tie* ties) const {
    const uint32_t c0 = static_cast<uint32_t>(word);
    Vector r[2][4];
    philox<2>({c0, c0}, {counter_word(site, kWeights, 0), counter_word(site, kWeights, 1)}, r);
    const Vector ones = _mm512_loadu_si512(q);
    Vector below = _mm512_setzero_si512();
    Vector same = _mm512_andnot_si512(ones, _mm512_set1_epi32(static_cast<int32_t>(valid_bits(inputs, word))));
    for (int plane = 7; plane >= 0; --plane) {
      const Vector u = r[plane / 4][plane % 4];
      const Vector one = _mm512_loadu_si512(q + (plane + 1) * kLanes);
      below = _mm512_ternarylogic_epi32(u, one, below, 0x8E);  // u == one ? below : one
      same = _mm512_ternarylogic_epi32(same, u, one, 0x90);    // same & (u == one)
    }
    _mm512_storeu_si512(weights + word * kLanes, _mm512_or_si512(below, ones));
    // places and open bits of ties side by side: they are written by two compressions
    const __mmask16 is_open = _mm512_test_epi32_mask(same, same);
    uint32_t* const target = reinterpret_cast<uint32_t*>(ties);
    const uint32_t count = static_cast<uint32_t>(__builtin_popcount(is_open));
    const Vector lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const Vector place = _mm512_add_epi32(lane, _mm512_set1_epi32(static_cast<int32_t>(word * kLanes)));
    const Vector places = _mm512_maskz_compress_epi32(is_open, place);
    const Vector opens = _mm512_maskz_compress_epi32(is_open, same);
    const Vector first = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    _mm512_storeu_si512(target, _mm512_permutex2var_epi32(places, first, opens));
    if (count > 8) {
      const Vector second = _mm512_add_epi32(first, _mm512_set1_epi32(8));
      _mm512_storeu_si512(target + 16, _mm512_permutex2var_epi32(places, second, opens));
    }
    return count;
  }

  // 16 words at a time by planes 9 to 12, which settle all but one weight of 16; the rest one by one.
  void settle(const uint32_t* cold, int64_t site, const Tie* ties, int64_t number,
              uint32_t* weights) const {
    int64_t done = 0;
    for (; done + 8 <= number; done += kLanes) {
      const int64_t left = number - done;
      const __mmask16 there = left >= kLanes ? 0xFFFF : static_cast<__mmask16>((1u << left) - 1);
      const Vector first = _mm512_maskz_loadu_epi32(spread(there), ties + done);
      const Vector second = _mm512_maskz_loadu_epi32(spread(static_cast<__mmask16>(there >> 8)), ties + done + 8);
      const Vector evens = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
      const Vector places = _mm512_permutex2var_epi32(first, evens, second);
      Vector open = _mm512_permutex2var_epi32(first, _mm512_add_epi32(evens, _mm512_set1_epi32(1)), second);
      Vector r[4];
      philox_of_places(places, counter_word(site, kWeights, 2), r);
      Vector below = _mm512_setzero_si512();
      const Vector start = _mm512_mullo_epi32(places, _mm512_set1_epi32(kColdPlanes));
      for (int plane = 0; plane < 4; ++plane) {
        const Vector at = _mm512_add_epi32(start, _mm512_set1_epi32(plane));
        const Vector q = _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), there, at, cold, 4);
        // open & q & ~u
        below = _mm512_or_si512(below, _mm512_ternarylogic_epi32(open, q, r[plane], 0x40));
        open = _mm512_ternarylogic_epi32(open, r[plane], q, 0x90);
      }
      alignas(64) uint32_t place[kLanes], settled[kLanes], still[kLanes];
      _mm512_store_si512(place, places);
      _mm512_store_si512(settled, below);
      _mm512_store_si512(still, open);
      const int count = left < kLanes ? static_cast<int>(left) : kLanes;
      for (int t = 0; t < count; ++t) weights[place[t]] |= settled[t];
      uint32_t rest = _mm512_mask_test_epi32_mask(there, open, open);
      for (; rest != 0; rest &= rest - 1) {
        const int t = __builtin_ctz(rest);
        weights[place[t]] |= settle_word(cold + int64_t{place[t]} * kColdPlanes, site, place[t] / kLanes,
                                         unit_ + place[t] % kLanes, draw_, key_, still[t], 3);
      }
    }
    for (; done < number; ++done) {
      const uint32_t place = ties[done].place;
      weights[place] |= settle_word(cold + int64_t{place} * kColdPlanes, site, place / kLanes,
                                    unit_ + place % kLanes, draw_, key_, ties[done].open, 2);
    }
  }

  static uint32_t at_most(const Bounds& bounds, const int32_t* v) {
    return _mm512_cmple_epi32_mask(_mm512_load_si512(v), _mm512_load_si512(bounds.bound));
  }

  // 32 activations in 16 bits (CoarseTable).  A word of noise has the bits of both rows of a unit.
  static inline void look(const Squeeze& s, int64_t, const bsbn::ActivationTables& tables,
                          const int32_t (*v)[kLanes], const uint32_t* words, uint32_t* up, uint32_t* open) {
    const CoarseTable& table = *tables.coarse;
    const __m512 slope = _mm512_load_ps(s.coarse_slope), offset = _mm512_load_ps(s.coarse_offset);
    const __m512 first = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_load_si512(v[0])), slope, offset);
    const __m512 second = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_load_si512(v[1])), slope, offset);
    // in each 128 bits: four units of the first row, then of the second
    const Vector t = _mm512_packs_epi32(_mm512_cvtps_epi32(first), _mm512_cvtps_epi32(second));
    const Vector by_row = _mm512_broadcast_i32x4(
        _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15));
    const Vector u = _mm512_shuffle_epi8(_mm512_load_si512(words), by_row);
    const Vector piece = _mm512_srli_epi16(t, 11);
    const Vector f = _mm512_xor_si512(_mm512_slli_epi16(t, 5), _mm512_set1_epi16(-32768));
    const Vector c0 = _mm512_permutexvar_epi16(piece, _mm512_load_si512(table.c0));
    const Vector c1 = _mm512_permutexvar_epi16(piece, _mm512_load_si512(table.c1));
    const Vector c2 = _mm512_permutexvar_epi16(piece, _mm512_load_si512(table.c2));
    const Vector rise = _mm512_add_epi16(c1, _mm512_mulhrs_epi16(f, c2));
    const Vector y = _mm512_add_epi16(c0, _mm512_mulhrs_epi16(f, rise));
    const Vector guard = _mm512_load_si512(s.guard);
    const uint32_t above = _mm512_cmplt_epu16_mask(u, _mm512_subs_epu16(y, guard));
    const uint32_t below = _mm512_cmpgt_epu16_mask(u, _mm512_adds_epu16(y, guard));
    *up = by_rows(above);
    *open = ~(above | below);
    if (__builtin_expect(*open != 0, 0)) *open = by_rows(*open);
  }

  static inline uint32_t squeeze(const Squeeze& s, int64_t law, const uint32_t* table, const int32_t* v,
                                 const uint32_t* pair, int shift, uint32_t* open) {
    const Vector word = _mm512_loadu_si512(pair);
    const Vector u16 = _mm512_and_si512(_mm512_srl_epi32(word, _mm_cvtsi32_si128(shift)), _mm512_set1_epi32(0xFFFF));
    const __m512 value = _mm512_cvtepi32_ps(_mm512_load_si512(v));
    __m512 t = _mm512_fmadd_ps(value, _mm512_load_ps(s.slope), _mm512_load_ps(s.offset));
    const __m512 low = _mm512_load_ps(s.low), high = _mm512_load_ps(s.high);
    uint32_t up, down;
    if (law == BSBN_LOGISTIC) {
      t = _mm512_min_ps(_mm512_max_ps(t, _mm512_set1_ps(-45.0f)), _mm512_set1_ps(45.0f));
      const __m512 magic = _mm512_set1_ps(12582912.0f);
      const __m512 shifted = _mm512_add_ps(t, magic);
      const __m512 f = _mm512_sub_ps(t, _mm512_sub_ps(shifted, magic));
      __m512 p = _mm512_set1_ps(9.5605102e-3f);
      p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(5.5917039e-2f));
      p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(2.4024981e-1f));
      p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.9312197e-1f));
      p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.99999919f));
      const Vector power = _mm512_slli_epi32(_mm512_castps_si512(shifted), 23);
      const __m512 e = _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p), power));
      const __m512 w = _mm512_add_ps(e, _mm512_set1_ps(1.0f));
      const __m512 u = _mm512_cvtepi32_ps(u16);
      up = _mm512_cmp_ps_mask(_mm512_fmadd_ps(u, w, w), low, _CMP_LE_OQ);
      down = _mm512_cmp_ps_mask(_mm512_mul_ps(u, w), high, _CMP_GE_OQ);
    } else {
      t = _mm512_min_ps(_mm512_max_ps(t, _mm512_setzero_ps()), _mm512_set1_ps(kCells - 1.0f));
      const Vector entry = _mm512_i32gather_epi32(_mm512_cvttps_epi32(t), table, 4);
      const Vector least = _mm512_and_si512(entry, _mm512_set1_epi32(0xFFFF));
      const Vector most = _mm512_add_epi32(least, _mm512_srli_epi32(entry, 16));
      const uint32_t is_sure = _mm512_cmp_ps_mask(low, _mm512_setzero_ps(), _CMP_GT_OQ);
      up = is_sure & _mm512_cmplt_epi32_mask(u16, least);
      down = is_sure & _mm512_cmpge_epi32_mask(u16, most);
    }
    *open = ~(up | down);
    return up;
  }

 private:
  // The bits of the first row below, those of the second above.
  static uint32_t by_rows(uint32_t mask) {
    return _pext_u32(mask, 0x0F0F0F0Fu) | _pext_u32(mask, 0xF0F0F0F0u) << 16;
  }

  static __mmask16 spread(__mmask16 there) {  // two lanes for each of the first eight bits
    uint32_t mask = 0;
    for (uint32_t bit = 0; bit < 8; ++bit) mask |= (there >> bit & 1u) * 3u << (2 * bit);
    return static_cast<__mmask16>(mask);
  }

  // Words of Philox at (place / 16, unit + place % 16, draw, c3) for 16 places.
  void philox_of_places(Vector places, uint32_t c3, Vector (&w)[4]) const {
    const Vector word = _mm512_srli_epi32(places, 4);
    const Vector unit = _mm512_add_epi32(_mm512_and_si512(places, _mm512_set1_epi32(15)),
                                         _mm512_set1_epi32(static_cast<int32_t>(unit_)));
    Counters c[2];
    for (int odd = 0; odd < 2; ++odd) {
      c[odd].x0 = odd ? _mm512_srli_epi64(word, 32) : word;
      c[odd].x1 = odd ? _mm512_srli_epi64(unit, 32) : unit;
      c[odd].x2 = broadcast(draw_);
      c[odd].x3 = broadcast(c3);
    }
    uint32_t k0 = key_.k0, k1 = key_.k1;
    for (int round = 0; round < 10; ++round) {
      const Vector vk0 = broadcast(k0), vk1 = broadcast(k1);
      c[0].round(vk0, vk1);
      c[1].round(vk0, vk1);
      k0 += kW0;
      k1 += kW1;
    }
    w[0] = merge(c[0].x0, c[1].x0);
    w[1] = merge(c[0].x1, c[1].x1);
    w[2] = merge(c[0].x2, c[1].x2);
    w[3] = merge(c[0].x3, c[1].x3);
  }

  Key key_;
  uint32_t draw_, unit_;
  Vector product_[2];
};

}  // namespace

#endif  // BSBN_AVX512_LANES_H
