// The units of a block by ordinary arithmetic, loops over 16 lanes that a compiler may use vectors for.
//
// Included by the files of instruction sets, hence nothing here may have external linkage.
#ifndef BSBN_ENSEMBLE_LANES_H
#define BSBN_ENSEMBLE_LANES_H

#include "word_rows.h"

namespace {

// One weight's word by further planes: u < q among the bits that are open, from plane `first` on.
inline uint32_t settle_word(const uint32_t* cold, int64_t site, uint32_t word, uint32_t unit,
                            uint32_t draw, Key key, uint32_t open, uint32_t first_group) {
  uint32_t below = 0;
  for (uint32_t group = first_group; group < 8 && open != 0; ++group) {
    uint32_t r[4];
    philox(word, unit, draw, counter_word(site, kWeights, group), key, r);
    for (int plane = 0; plane < 4; ++plane) {
      const uint32_t q = cold[4 * (group - 2) + static_cast<uint32_t>(plane)];
      below |= open & q & ~r[plane];
      open &= ~(r[plane] ^ q);
    }
  }
  return below;
}

class PlainLanes : public WordRows<PlainLanes> {
 public:
  PlainLanes() = default;
  PlainLanes(Key key, uint32_t draw, uint32_t unit) : key_(key), draw_(draw), unit_(unit) {}

  void words(uint32_t c0, uint32_t c3, uint32_t (*w)[kLanes]) const {
    uint32_t x0[kLanes], x1[kLanes], x2[kLanes], x3[kLanes];
    for (int l = 0; l < kLanes; ++l) {
      x0[l] = c0;
      x1[l] = unit_ + static_cast<uint32_t>(l);
      x2[l] = draw_;
      x3[l] = c3;
    }
    Key key = key_;
    for (int round = 0; round < 10; ++round) {
      for (int l = 0; l < kLanes; ++l) {
        const uint64_t a = uint64_t{0xD2511F53u} * x0[l], b = uint64_t{0xCD9E8D57u} * x2[l];
        x0[l] = static_cast<uint32_t>(b >> 32) ^ x1[l] ^ key.k0;
        x2[l] = static_cast<uint32_t>(a >> 32) ^ x3[l] ^ key.k1;
        x1[l] = static_cast<uint32_t>(b);
        x3[l] = static_cast<uint32_t>(a);
      }
      key.k0 += 0x9E3779B9u;
      key.k1 += 0xBB67AE85u;
    }
    std::memcpy(w[0], x0, sizeof x0);
    std::memcpy(w[1], x1, sizeof x1);
    std::memcpy(w[2], x2, sizeof x2);
    std::memcpy(w[3], x3, sizeof x3);
  }

  void two_words(uint32_t c0, uint32_t c3, uint32_t (*w)[4][kLanes]) const {
    words(c0, c3, w[0]);
    words(c0 + 1, c3, w[1]);
  }

  int64_t draw_word(const uint32_t* q, int64_t site, int64_t inputs, int64_t word, uint32_t* weights,
                    Tie* ties) const {
    const uint32_t valid = valid_bits(inputs, word);
    uint32_t r[8][kLanes];
    words(static_cast<uint32_t>(word), counter_word(site, kWeights, 0), r);
    words(static_cast<uint32_t>(word), counter_word(site, kWeights, 1), r + 4);
    uint32_t* const target = weights + word * kLanes;
    uint32_t open[kLanes];
    for (int l = 0; l < kLanes; ++l) {
      uint32_t below = 0, same = valid & ~q[l];
      for (int plane = 7; plane >= 0; --plane) {
        const uint32_t one = q[(plane + 1) * kLanes + l], u = r[plane][l];
        below = ((u ^ one) & one) | (~(u ^ one) & below);
        same &= ~(u ^ one);
      }
      target[l] = below | q[l];
      open[l] = same;
    }
    int64_t number = 0;
    for (int l = 0; l < kLanes; ++l) {
      if (open[l] != 0) ties[number++] = {static_cast<uint32_t>(word * kLanes + l), open[l]};
    }
    return number;
  }

  void settle(const uint32_t* cold, int64_t site, const Tie* ties, int64_t number,
              uint32_t* weights) const {
    for (int64_t t = 0; t < number; ++t) {
      const uint32_t place = ties[t].place;
      weights[place] |= settle_word(cold + place * kColdPlanes, site, place / kLanes,
                                    unit_ + place % kLanes, draw_, key_, ties[t].open, 2);
    }
  }

  // Eight words at a time in a tree of full adders, of whose eights the bits are counted.
  static void mismatches(const uint32_t* weights, const uint32_t* rows, int64_t row_stride, int64_t word_stride,
                         int64_t words, int number, int32_t (*v)[kLanes]) {
    for (int r = 0; r < number; ++r) {
      const uint32_t* const x = rows + r * row_stride;
      uint32_t ones[kLanes] = {0}, twos[kLanes] = {0}, fours[kLanes] = {0}, sum[kLanes] = {0};
      int64_t word = 0;
      for (; word + 8 <= words; word += 8) {
        const uint32_t* const w = weights + word * kLanes;
        uint32_t of_row[8];
        for (int i = 0; i < 8; ++i) of_row[i] = x[(word + i) * word_stride];
        for (int l = 0; l < kLanes; ++l) {
          uint32_t m[8];
          for (int i = 0; i < 8; ++i) m[i] = of_row[i] ^ w[i * kLanes + l];
          const uint32_t a = carry(&ones[l], m[0], m[1]), b = carry(&ones[l], m[2], m[3]);
          const uint32_t c = carry(&ones[l], m[4], m[5]), d = carry(&ones[l], m[6], m[7]);
          const uint32_t e = carry(&twos[l], a, b), f = carry(&twos[l], c, d);
          sum[l] += 8 * count(carry(&fours[l], e, f));
        }
      }
      for (; word < words; ++word) {
        const uint32_t of_row = x[word * word_stride];
        for (int l = 0; l < kLanes; ++l) sum[l] += count(of_row ^ weights[word * kLanes + l]);
      }
      for (int l = 0; l < kLanes; ++l) sum[l] += count(ones[l]) + 2 * count(twos[l]) + 4 * count(fours[l]);
      std::memcpy(v[r], sum, sizeof sum);
    }
  }

  static void dots(const uint32_t* weights, const int16_t* rows, int64_t inputs, int number,
                   int32_t (*v)[kLanes]) {
    for (int r = 0; r < number; ++r) {
      const int16_t* const x = rows + r * inputs;
      int32_t sum[kLanes] = {0};
      for (int64_t i = 0; i < inputs; ++i) {
        const uint32_t* const w = weights + i / 32 * kLanes;
        const int32_t one = x[i];
        for (int l = 0; l < kLanes; ++l) {
          const int32_t minus = static_cast<int32_t>(w[l] >> (i % 32) & 1) - 1;  // 0 of +1, else -1
          sum[l] += (one ^ minus) - minus;
        }
      }
      std::memcpy(v[r], sum, sizeof sum);
    }
  }

  static uint32_t at_most(const Bounds& bounds, const int32_t* v) {
    uint32_t bits = 0;
    for (int l = 0; l < kLanes; ++l) bits |= static_cast<uint32_t>(v[l] <= bounds.bound[l]) << l;
    return bits;
  }

  // In plain arithmetic the squeeze costs no more than a look.
  static void look(const Squeeze& s, int64_t law, const bsbn::ActivationTables& tables, const int32_t (*v)[kLanes],
                   const uint32_t* words, uint32_t* up, uint32_t* open) {
    uint32_t first, second;
    *up = squeeze(s, law, tables.cells, v[0], words, 0, &first);
    *up |= squeeze(s, law, tables.cells, v[1], words, 16, &second) << 16;
    *open = (first & 0xFFFFu) | second << 16;
  }

  static uint32_t squeeze(const Squeeze& s, int64_t law, const uint32_t* table, const int32_t* v,
                          const uint32_t* pair, int shift, uint32_t* open) {
    uint32_t up[kLanes], down[kLanes];
    for (int l = 0; l < kLanes; ++l) {
      const uint32_t u16 = pair[l] >> shift & 0xFFFFu;
      float t = s.slope[l] * static_cast<float>(v[l]) + s.offset[l];
      if (law == BSBN_LOGISTIC) {
        t = t > -45.0f ? t : -45.0f;  // false of NaN, whose unit has no bounds that could be met
        t = t < 45.0f ? t : 45.0f;
        const float u = static_cast<float>(static_cast<int32_t>(u16));
        const float w = 1.0f + power_of_two(t);
        up[l] = u * w + w <= s.low[l];
        down[l] = u * w >= s.high[l];
      } else {
        t = t > 0.0f ? t : 0.0f;
        t = t < kCells - 1.0f ? t : kCells - 1.0f;
        const uint32_t entry = table[static_cast<int32_t>(t)];
        const uint32_t low = entry & 0xFFFFu, high = low + (entry >> 16);
        const uint32_t is_sure = s.low[l] > 0.0f;
        up[l] = is_sure & static_cast<uint32_t>(u16 + 1 <= low);
        down[l] = is_sure & static_cast<uint32_t>(u16 >= high);
      }
    }
    uint32_t bits = 0, sure = 0;
    for (int l = 0; l < kLanes; ++l) {
      bits |= up[l] << l;
      sure |= (up[l] | down[l]) << l;
    }
    *open = ~sure;
    return bits;
  }

 private:
  // Adds a and b to the bits of `sum`, and returns what is carried.
  static uint32_t carry(uint32_t* sum, uint32_t a, uint32_t b) {
    const uint32_t either = a ^ b, carried = (a & b) | (either & *sum);
    *sum ^= either;
    return carried;
  }

  static uint32_t count(uint32_t m) {
    m -= m >> 1 & 0x55555555u;
    m = (m & 0x33333333u) + (m >> 2 & 0x33333333u);
    m = (m + (m >> 4)) & 0x0F0F0F0Fu;
    return m * 0x01010101u >> 24;
  }

  // 2^t of |t| <= 45, of relative error below 1e-5.
  static float power_of_two(float t) {
    const float shifted = t + 12582912.0f;  // its low bits are the nearest integer
    const float f = t - (shifted - 12582912.0f);
    float value = 9.5605102e-3f;
    value = value * f + 5.5917039e-2f;
    value = value * f + 2.4024981e-1f;
    value = value * f + 6.9312197e-1f;
    value = value * f + 0.99999919f;
    uint32_t bits, power;
    std::memcpy(&bits, &value, sizeof bits);
    std::memcpy(&power, &shifted, sizeof power);
    bits += power << 23;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  }

  Key key_;
  uint32_t draw_, unit_;
};

}  // namespace

#endif  // BSBN_ENSEMBLE_LANES_H
