// One draw of a network for all rows: the loops, which every instruction set compiles for itself.
//
// Layer by layer, and within a layer block by block of 16 units: the packed weights of the block are
// drawn into the nearest cache, all rows see them, and the activations are decided and packed into
// the rows that the next layer reads.  `Lanes` has what an instruction set does in its own way, on
// the 16 units of a block at once:
//
//     Lanes(key, draw, unit)                        the units of a block
//     words(c0, c3, w)                              words of Philox4x32-10 at (c0, unit, draw, c3)
//     four_words(c0, c3, w)                         those of c0 to c0 + 3
//     draw_weights(hot, site, inputs, weights, ties)
//                                                   the packed weights; returns how many words of a
//                                                   unit the hot planes left open, and names them
//     settle(cold, site, ties, number, weights)     those, by the cold planes
//     mismatches(weights, rows, row_words, words, number, v)
//     dots(weights, rows, inputs, number, v)        of int16 rows
//     at_most(bounds, v)                            a bit a unit
//     squeeze(squeeze, law, table, v, u16, open)    a bit a unit for +1, and for what is open
//
// Included by the files of every instruction set, hence nothing here may have external linkage.
#ifndef BSBN_ENSEMBLE_DRAWS_H
#define BSBN_ENSEMBLE_DRAWS_H

#include <cstring>

#include "ensemble.h"
#include "ensemble_decisions.h"

namespace {

constexpr int kRows = 32;  // rows of a group, which share words of the noise
constexpr int kHotPlanes = 9, kColdPlanes = 24;

using Values = int32_t[kRows][kLanes];

struct Tie {
  uint32_t place;  // 16 word + unit of the block
  uint32_t open;   // which of its 32 weights
};

// The bits of a word that stand for inputs.
inline uint32_t valid_bits(int64_t inputs, int64_t word) {
  const int64_t left = inputs - 32 * word;
  return left >= 32 ? 0xFFFFFFFFu : (1u << left) - 1;
}

// The rows that a layer reads and those that it writes, and how it sees them.
struct Rows {
  const uint32_t* packed;  // or null
  const int16_t* numbers;
  int64_t packed_stride;  // in words
  uint8_t* upper;
  int64_t upper_stride;  // in bytes
};

template <class Lanes>
void see_group(const Lanes&, const uint32_t* weights, const bsbn_ensemble_layer& layer,
               const Rows& rows, int64_t first, int number, int32_t (*v)[kLanes]) {
  const int64_t words = (layer.inputs + 31) / 32;
  if (rows.packed != nullptr) {
    Lanes::mismatches(weights, rows.packed + first * rows.packed_stride, rows.packed_stride, words,
                      number, v);
  } else {
    Lanes::dots(weights, rows.numbers + first * layer.inputs, layer.inputs, number, v);
  }
}

// The bits of a block, and zeros up to the end of the word where the block is the last one.
inline void write_units(const Rows& rows, int64_t row, int64_t block, bool is_last, uint32_t bits) {
  uint8_t* const target = rows.upper + row * rows.upper_stride + 2 * block;
  if (is_last && block % 2 == 0) {
    std::memcpy(target, &bits, sizeof bits);
  } else {
    const uint16_t half = static_cast<uint16_t>(bits);
    std::memcpy(target, &half, sizeof half);
  }
}

// The packed weights of a block that were drawn before; units and bits that are not there are 0.
inline void load_weights(const bsbn_ensemble_layer& layer, int64_t position, int64_t first_unit,
                         int number, uint32_t* weights) {
  const int64_t words = (layer.inputs + 31) / 32;
  const uint32_t* const source = layer.words + (position * layer.units + first_unit) * words;
  for (int64_t word = 0; word < words; ++word) {
    const uint32_t valid = valid_bits(layer.inputs, word);
    for (int lane = 0; lane < kLanes; ++lane) {
      weights[word * kLanes + lane] = lane < number ? source[lane * words + word] & valid : 0;
    }
  }
}

inline bool decide_exactly(const Units& units, int lane, int64_t v, uint32_t u16, uint32_t row,
                           uint32_t unit, uint32_t draw, Key key) {
  uint32_t w[4];
  philox(row, unit, draw, counter_word(units.site, kRowNoiseTies), key, w);
  const int64_t u48 = static_cast<int64_t>(uint64_t{u16} << 32 | w[0]);
  return u48 < units.threshold(lane, v);
}

template <class Lanes>
void run_layer(const bsbn::EnsembleWork* work, int64_t index, int64_t position, const Rows& rows,
               uint32_t* weights, Tie* ties) {
  const bsbn_ensemble_args& args = *work->args;
  const bsbn_ensemble_layer& layer = args.layers[index];
  const bool is_last = index + 1 == args.num_layers;
  const Key key{static_cast<uint32_t>(args.key0), static_cast<uint32_t>(args.key1)};
  const uint32_t draw = static_cast<uint32_t>(args.draws[position]);
  const int64_t words = (layer.inputs + 31) / 32;
  Units units;
  units.noise_scale = layer.noise_scale;
  units.law = layer.law;
  units.site = layer.site;
  units.inputs = layer.inputs;
  units.magnitude = index == 0 ? work->magnitude : 1;
  units.counts_mismatches = rows.packed != nullptr;
  const int64_t most = units.counts_mismatches ? layer.inputs : layer.inputs * work->largest_input;
  const int64_t least = units.counts_mismatches ? 0 : -most;
  const int64_t of_draw = layer.has_units_of_draws ? position * layer.units : 0;
  for (int64_t block = 0; block * kLanes < layer.units; ++block) {
    const int64_t first_unit = block * kLanes;
    units.number = static_cast<int>(layer.units - first_unit < kLanes ? layer.units - first_unit : kLanes);
    const uint32_t there = (1u << units.number) - 1;
    const bool ends = first_unit + kLanes >= layer.units;
    const Lanes lanes(key, draw, static_cast<uint32_t>(first_unit));
    if (layer.words != nullptr) {
      load_weights(layer, position, first_unit, units.number, weights);
    } else {
      const int64_t open = lanes.draw_weights(layer.hot + block * words * kHotPlanes * kLanes,
                                              layer.site, layer.inputs, weights, ties);
      lanes.settle(layer.cold + block * words * kColdPlanes * kLanes, layer.site, ties, open, weights);
    }
    alignas(64) Values v;
    if (is_last) {
      for (int64_t row = 0; row < args.rows; row += kRows) {
        const int number = static_cast<int>(args.rows - row < kRows ? args.rows - row : kRows);
        see_group(lanes, weights, layer, rows, row, number, v);
        for (int r = 0; r < number; ++r) {
          int64_t* const dots = args.dots + (position * args.rows + row + r) * layer.units + first_unit;
          for (int lane = 0; lane < units.number; ++lane) dots[lane] = units.dot(v[r][lane]);
        }
      }
      continue;
    }
    for (int lane = 0; lane < kLanes; ++lane) {
      const bool is_there = lane < units.number;
      units.scale[lane] = is_there ? layer.scale[of_draw + first_unit + lane] : 0.0;
      units.bias[lane] = is_there ? layer.bias[of_draw + first_unit + lane] : 0.0;
    }
    if (args.is_shared) {
      uint32_t w[4][kLanes];
      lanes.words(0, counter_word(layer.site, kSharedNoise), w);
      int64_t u48[kLanes];
      for (int lane = 0; lane < kLanes; ++lane) {
        u48[lane] = static_cast<int64_t>(uint64_t{w[0][lane] & 0xFFFFu} << 32 | w[1][lane]);
      }
      Bounds bounds;
      find_bounds(units, u48, least, most, &bounds);
      for (int64_t row = 0; row < args.rows; row += kRows) {
        const int number = static_cast<int>(args.rows - row < kRows ? args.rows - row : kRows);
        see_group(lanes, weights, layer, rows, row, number, v);
        for (int r = 0; r < number; ++r) {
          write_units(rows, row + r, block, ends, (Lanes::at_most(bounds, v[r]) ^ bounds.flips) & there);
        }
      }
      continue;
    }
    Squeeze squeeze;
    make_squeeze(units, most, &squeeze);
    const uint32_t* const table = work->tables[index];
    for (int64_t row = 0; row < args.rows;) {
      const int64_t global = args.first_row + row;
      const int o = static_cast<int>(global % kRows);
      const int number = static_cast<int>(args.rows - row < kRows - o ? args.rows - row : kRows - o);
      uint32_t w[4][4][kLanes];  // by c0 and output word
      lanes.four_words(static_cast<uint32_t>(4 * (global / kRows)), counter_word(layer.site, kRowNoise), w);
      see_group(lanes, weights, layer, rows, row, number, v);
      for (int r = 0; r < number; ++r) {
        const int place = o + r;
        const uint32_t(&pair)[kLanes] = w[place >> 1 & 3][place >> 3];
        const int shift = place & 1 ? 16 : 0;
        uint32_t still_open;
        uint32_t bits = Lanes::squeeze(squeeze, layer.law, table, v[r], pair, shift, &still_open);
        for (still_open &= there; still_open != 0; still_open &= still_open - 1) {
          const int lane = __builtin_ctz(still_open);
          const uint32_t u16 = pair[lane] >> shift & 0xFFFFu;
          const bool is_up =
              decide_exactly(units, lane, v[r][lane], u16, static_cast<uint32_t>(global + r),
                             static_cast<uint32_t>(first_unit + lane), draw, key);
          bits = (bits & ~(1u << lane)) | static_cast<uint32_t>(is_up) << lane;
        }
        write_units(rows, row + r, block, ends, bits & there);
      }
      row += number;
    }
  }
}

template <class Lanes>
void run_draws(const bsbn::EnsembleWork* work, uint8_t* scratch, int64_t first, int64_t last) {
  const bsbn_ensemble_args& args = *work->args;
  uint32_t* const weights = reinterpret_cast<uint32_t*>(scratch + work->scratch.weights);
  Tie* const ties = reinterpret_cast<Tie*>(scratch + work->scratch.ties);
  for (int64_t position = first; position < last; ++position) {
    uint8_t* lower = scratch + work->scratch.lower;
    uint8_t* upper = scratch + work->scratch.upper;
    Rows rows{work->packed, args.inputs, (args.layers[0].inputs + 31) / 32, upper,
              work->scratch.row_bytes};
    for (int64_t index = 0; index < args.num_layers; ++index) {
      run_layer<Lanes>(work, index, position, rows, weights, ties);
      uint8_t* const written = rows.upper;
      rows = Rows{reinterpret_cast<uint32_t*>(written), nullptr, work->scratch.row_bytes / 4,
                  written == upper ? lower : upper, work->scratch.row_bytes};
    }
  }
}

}  // namespace

#endif  // BSBN_ENSEMBLE_DRAWS_H
