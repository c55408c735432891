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
//     load_block(source, words, number, weights)    those of units one after the other; others are 0
//     at_most(bounds, v)                            a bit a unit
//     squeeze(squeeze, law, cells, v, u16, open)    a bit a unit for +1, and for what is open
//     look(squeeze, table, v, words, bits, open)    the same of a pair of rows, coarsely
//
// and how rows are laid out, and products made of `kBlocks` blocks at a time (WordRows, for packed rows):
//
//     weight_bytes(inputs), row_bytes(values), input_row_bytes(inputs, are_signs, largest)
//                                                   memory of the blocks' weights, and of a row
//     words_of(weights, block, inputs)              where the packed weights of a block are drawn
//     prepare(weights, block, inputs)               once they are
//     inputs(work, memory)                          the rows that the first layer reads
//     see(weights, blocks, rows, inputs, first, number, place, v)
//                                                   what the units see of the rows, from `place` on
//     write(rows, row, block, is_last, bits)        the activations of a block
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

// What units see of the rows of a group; products made 16 rows at a time write beyond it.
struct Values {
  alignas(64) int32_t of[kRows + 16][kLanes];
};

struct Tie {
  uint32_t place;  // 16 word + unit of the block
  uint32_t open;   // which of its 32 weights
};

inline uint32_t counter_word(int64_t site, uint32_t purpose, uint32_t group = 0) {
  return static_cast<uint32_t>(site) << 16 | purpose << 8 | group;
}

// The bits of a word that stand for inputs.
inline uint32_t valid_bits(int64_t inputs, int64_t word) {
  const int64_t left = inputs - 32 * word;
  return left >= 32 ? 0xFFFFFFFFu : (1u << left) - 1;
}

// The rows that a layer reads and those that it writes; strides in bytes.
struct Rows {
  const uint8_t* lower;
  int64_t lower_stride;
  bool are_signs;  // or else numbers
  uint8_t* upper;
  int64_t upper_stride;
};

// The packed weights of a block that were drawn before; units and bits that are not there are 0.
template <class Lanes>
void load_weights(const bsbn_ensemble_layer& layer, int64_t position, int64_t first_unit,
                         int number, uint32_t* weights) {
  const int64_t words = (layer.inputs + 31) / 32;
  const uint32_t* const source = layer.words + (position * layer.units + first_unit) * words;
  if (words == 0) return;
  Lanes::load_block(source, words, number, weights);
  const uint32_t valid = valid_bits(layer.inputs, words - 1);
  for (int lane = 0; lane < kLanes; ++lane) weights[(words - 1) * kLanes + lane] &= valid;
}

inline bool decide_exactly(const Units& units, int lane, int64_t v, uint32_t u16, uint32_t row,
                           uint32_t unit, uint32_t draw, Key key) {
  uint32_t w[4];
  philox(row, unit, draw, counter_word(units.site, kRowNoiseTies), key, w);
  const int64_t u48 = static_cast<int64_t>(uint64_t{u16} << 32 | w[0]);
  return u48 < units.threshold(lane, v);
}

// What decides the units of a block in one draw.
struct Rule {
  Units units;
  Bounds bounds;
  Squeeze squeeze;
  uint32_t there;  // a bit for each unit that there is
};

// Weights of a block into packed words, and what its activations are decided by.
template <class Lanes>
void prepare_block(const bsbn::EnsembleWork* work, int64_t index, int64_t position, int64_t block,
                   const Lanes& lanes, uint8_t* weights, int64_t place, Tie* ties, Rule* rule) {
  const bsbn_ensemble_args& args = *work->args;
  const bsbn_ensemble_layer& layer = args.layers[index];
  const int64_t words = (layer.inputs + 31) / 32, first_unit = block * kLanes;
  Units& units = rule->units;
  units.number = static_cast<int>(layer.units - first_unit < kLanes ? layer.units - first_unit : kLanes);
  rule->there = (1u << units.number) - 1;
  uint32_t* const target = Lanes::words_of(weights, place, layer.inputs);
  if (layer.words != nullptr) {
    load_weights<Lanes>(layer, position, first_unit, units.number, target);
  } else {
    const int64_t open =
        lanes.draw_weights(layer.hot + block * words * kHotPlanes * kLanes, layer.site, layer.inputs, target, ties);
    lanes.settle(layer.cold + block * words * kColdPlanes * kLanes, layer.site, ties, open, target);
  }
  Lanes::prepare(weights, place, layer.inputs);
  if (index + 1 == args.num_layers) return;
  const int64_t of_draw = layer.has_units_of_draws ? position * layer.units : 0;
  for (int lane = 0; lane < kLanes; ++lane) {
    const bool is_there = lane < units.number;
    units.scale[lane] = is_there ? layer.scale[of_draw + first_unit + lane] : 0.0;
    units.bias[lane] = is_there ? layer.bias[of_draw + first_unit + lane] : 0.0;
  }
  const int64_t most = units.counts_mismatches ? layer.inputs : layer.inputs * work->largest_input;
  if (!args.is_shared) {
    make_squeeze(units, most, *work->tables[index].coarse, &rule->squeeze);
    return;
  }
  uint32_t w[4][kLanes];
  lanes.words(0, counter_word(layer.site, kSharedNoise), w);
  int64_t u48[kLanes];
  for (int lane = 0; lane < kLanes; ++lane) {
    u48[lane] = static_cast<int64_t>(uint64_t{w[0][lane] & 0xFFFFu} << 32 | w[1][lane]);
  }
  find_bounds(units, u48, units.counts_mismatches ? 0 : -most, most, &rule->bounds);
}

// The bits of units that a look left open, by the squeeze, and of what that leaves by the exact rule.
template <class Lanes>
uint32_t decide_open(const bsbn::EnsembleWork* work, int64_t index, const Rule& rule, const int32_t* v,
                     const uint32_t* pair, int shift, uint32_t open, uint32_t bits, uint32_t row,
                     uint32_t first_unit, uint32_t draw, Key key) {
  uint32_t still_open;
  const uint32_t found = Lanes::squeeze(rule.squeeze, rule.units.law, work->tables[index].cells, v, pair,
                                        shift, &still_open);
  bits = (bits & ~open) | (found & open);
  for (still_open &= open; still_open != 0; still_open &= still_open - 1) {
    const int lane = __builtin_ctz(still_open);
    const bool is_up = decide_exactly(rule.units, lane, v[lane], pair[lane] >> shift & 0xFFFFu, row,
                                      first_unit + static_cast<uint32_t>(lane), draw, key);
    bits = (bits & ~(1u << lane)) | static_cast<uint32_t>(is_up) << lane;
  }
  return bits;
}

// The activations of a block for a group of rows with noise of their own; `v` by place in the group.
template <class Lanes>
void decide_group(const bsbn::EnsembleWork* work, int64_t index, const Lanes& lanes, const Rule& rule,
                  const Values& v, int64_t row, int place, int number, int64_t block, bool is_last,
                  uint32_t draw, Key key, const Rows& rows) {
  const int64_t global = work->args->first_row + row - place;  // of the first row of the group
  const uint32_t first_unit = static_cast<uint32_t>(block * kLanes);
  alignas(64) uint32_t w[4][4][kLanes];  // by c0 and output word
  lanes.four_words(static_cast<uint32_t>(4 * (global / kRows)), counter_word(rule.units.site, kRowNoise), w);
  const CoarseTable& table = *work->tables[index].coarse;
  for (int pair = place / 2; 2 * pair < place + number; ++pair) {
    const uint32_t(&word)[kLanes] = w[pair & 3][pair >> 2];
    uint32_t bits[2], open[2];
    Lanes::look(rule.squeeze, table, v.of + 2 * pair, word, bits, open);
    for (int odd = 0; odd < 2; ++odd) {
      const int at = 2 * pair + odd;
      if (at < place || at >= place + number) continue;
      open[odd] &= rule.there;
      if (open[odd] != 0) {
        bits[odd] = decide_open<Lanes>(work, index, rule, v.of[at], word, 16 * odd, open[odd], bits[odd],
                                       static_cast<uint32_t>(global + at), first_unit, draw, key);
      }
      Lanes::write(rows, row + at - place, block, is_last, bits[odd] & rule.there);
    }
  }
}

// Blocks first_block..last_block-1 of a layer.
template <class Lanes>
void run_layer(const bsbn::EnsembleWork* work, int64_t index, int64_t position, const Rows& rows,
               int64_t first_block, int64_t last_block, uint8_t* weights, Tie* ties) {
  const bsbn_ensemble_args& args = *work->args;
  const bsbn_ensemble_layer& layer = args.layers[index];
  const Key key{static_cast<uint32_t>(args.key0), static_cast<uint32_t>(args.key1)};
  const uint32_t draw = static_cast<uint32_t>(args.draws[position]);
  const bool is_last = index + 1 == args.num_layers;
  const bool has_own_noise = !is_last && !args.is_shared;
  const int64_t num_blocks = (layer.units + kLanes - 1) / kLanes;
  Rule rules[Lanes::kBlocks];
  for (Rule& rule : rules) {
    rule.units.noise_scale = layer.noise_scale;
    rule.units.law = layer.law;
    rule.units.site = layer.site;
    rule.units.inputs = layer.inputs;
    rule.units.magnitude = index == 0 ? work->magnitude : 1;
    rule.units.counts_mismatches = rows.are_signs;
  }
  Values v[Lanes::kBlocks] = {};
  for (int64_t first = first_block; first < last_block; first += Lanes::kBlocks) {
    const int blocks = static_cast<int>(last_block - first < Lanes::kBlocks ? last_block - first : Lanes::kBlocks);
    for (int b = 0; b < blocks; ++b) {
      const Lanes lanes(key, draw, static_cast<uint32_t>((first + b) * kLanes));
      prepare_block(work, index, position, first + b, lanes, weights, b, ties, &rules[b]);
    }
    for (int64_t row = 0; row < args.rows;) {
      const int place = has_own_noise ? static_cast<int>((args.first_row + row) % kRows) : 0;
      const int number = static_cast<int>(args.rows - row < kRows - place ? args.rows - row : kRows - place);
      Lanes::see(weights, blocks, rows, layer.inputs, row, number, place, v);
      for (int b = 0; b < blocks; ++b) {
        const int64_t block = first + b, first_unit = block * kLanes;
        const Rule& rule = rules[b];
        if (is_last) {
          for (int r = 0; r < number; ++r) {
            int64_t* const dots = args.dots + (position * args.rows + row + r) * layer.units + first_unit;
            for (int lane = 0; lane < rule.units.number; ++lane) dots[lane] = rule.units.dot(v[b].of[r][lane]);
          }
        } else if (args.is_shared) {
          for (int r = 0; r < number; ++r) {
            const uint32_t bits = Lanes::at_most(rule.bounds, v[b].of[r]) ^ rule.bounds.flips;
            Lanes::write(rows, row + r, block, block + 1 == num_blocks, bits & rule.there);
          }
        } else {
          const Lanes lanes(key, draw, static_cast<uint32_t>(first_unit));
          decide_group(work, index, lanes, rule, v[b], row, place, number, block, block + 1 == num_blocks, draw,
                       key, rows);
        }
      }
      row += number;
    }
  }
}

template <class Lanes>
void run_draws(const bsbn::EnsembleWork* work, uint8_t* scratch, int64_t first, int64_t last) {
  const bsbn_ensemble_args& args = *work->args;
  const bsbn::EnsembleScratch& places = work->scratch;
  Tie* const ties = reinterpret_cast<Tie*>(scratch + places.ties);
  [[maybe_unused]] const typename Lanes::Session session{};
  const Rows inputs = Lanes::inputs(work, scratch + places.inputs);
  for (int64_t position = first; position < last; ++position) {
    uint8_t* lower = scratch + places.lower;
    uint8_t* upper = scratch + places.upper;
    Rows rows = inputs;
    rows.upper = upper;
    rows.upper_stride = places.row_bytes;
    for (int64_t index = 0; index < args.num_layers; ++index) {
      const int64_t blocks = (args.layers[index].units + kLanes - 1) / kLanes;
      run_layer<Lanes>(work, index, position, rows, 0, blocks, scratch + places.weights, ties);
      uint8_t* const written = rows.upper;
      rows = Rows{written, places.row_bytes, true, written == upper ? lower : upper, places.row_bytes};
    }
  }
}

// The parts of the working memory of a thread; rows are read 32 at a time.
template <class Lanes>
void lay_out(bsbn::EnsembleWork* work) {
  const bsbn_ensemble_args& args = *work->args;
  int64_t inputs = 0, units = 0;
  for (int64_t index = 0; index < args.num_layers; ++index) {
    inputs = args.layers[index].inputs > inputs ? args.layers[index].inputs : inputs;
    if (index + 1 < args.num_layers && args.layers[index].units > units) units = args.layers[index].units;
  }
  const int64_t rows = args.rows + kRows, words = (inputs + 31) / 32;
  bsbn::EnsembleScratch& places = work->scratch;
  places.row_bytes = Lanes::row_bytes(units);
  places.weights = 0;
  places.ties = Lanes::weight_bytes(inputs);
  places.inputs = places.ties + 128 * words + 128;  // ties are written 16 at a time
  places.lower = places.inputs + rows * Lanes::input_row_bytes(args.layers[0].inputs, work->packed != nullptr,
                                                               work->largest_input);
  places.upper = places.lower + rows * places.row_bytes;
  places.bytes = places.upper + rows * places.row_bytes + 64;
}

}  // namespace

#endif  // BSBN_ENSEMBLE_DRAWS_H
