// The parts of a layer alone: its weights drawn, and products of packed rows.
//
// Included by the files of every instruction set, hence nothing here may have external linkage.
#ifndef BSBN_ENSEMBLE_PARTS_H
#define BSBN_ENSEMBLE_PARTS_H

#include "ensemble_draws.h"

namespace {

template <class Lanes>
void draw_some_weights(const bsbn_draw_weights_args* args, uint8_t* scratch, int64_t first,
                       int64_t last) {
  const int64_t words = (args->inputs + 31) / 32;
  uint32_t* const weights = reinterpret_cast<uint32_t*>(scratch);
  Tie* const ties = reinterpret_cast<Tie*>(scratch + 64 * words);
  const Key key{static_cast<uint32_t>(args->key0), static_cast<uint32_t>(args->key1)};
  for (int64_t position = first; position < last; ++position) {
    for (int64_t block = 0; block * kLanes < args->units; ++block) {
      const Lanes lanes(key, static_cast<uint32_t>(args->draws[position]),
                        static_cast<uint32_t>(block * kLanes));
      int64_t open = 0;
      for (int64_t word = 0; word < words; ++word) {
        open += lanes.draw_word(args->hot + (block * words + word) * kHotPlanes * kLanes, args->site,
                                args->inputs, word, weights, ties + open);
      }
      lanes.settle(args->cold + block * words * kColdPlanes * kLanes, args->site, ties, open, weights);
      const int64_t unit = block * kLanes, left = args->units - unit;
      Lanes::store_block(weights, words, static_cast<int>(left < kLanes ? left : kLanes),
                         args->words + (position * args->units + unit) * words);
    }
  }
}

// Blocks whose weights stay in a cache while groups of rows go by.  A group is multiplied by one block
// after the other, so that its results, and not those of all rows, are written side by side.
constexpr int64_t kCachedBytes = 1 << 19;

inline int64_t blocks_at_once(const bsbn_xnor_linear_args* args) {
  const int64_t bytes = (args->length + 31) / 32 * (4 * kLanes), blocks = (args->units + kLanes - 1) / kLanes;
  const int64_t cached = bytes == 0 ? blocks : kCachedBytes / bytes;
  return cached < 1 ? 1 : cached < blocks ? cached : blocks;
}

inline int64_t multiplying_bytes(const bsbn_xnor_linear_args* args) {
  return blocks_at_once(args) * ((args->length + 31) / 32) * (4 * kLanes) + 64;
}

template <class Lanes>
void multiply_some_units(const bsbn_xnor_linear_args* args, uint8_t* scratch, int64_t first,
                         int64_t last) {
  const int64_t words = (args->length + 31) / 32;
  const uint32_t* const rows = reinterpret_cast<const uint32_t*>(args->rows);
  const uint32_t* const weights = reinterpret_cast<const uint32_t*>(args->weights);
  uint32_t* const cached = reinterpret_cast<uint32_t*>(scratch);
  const uint32_t last_word = words > 0 ? valid_bits(args->length, words - 1) : 0;
  const int64_t whole = words > 0 && last_word != 0xFFFFFFFFu ? words - 1 : words;
  const int32_t length = static_cast<int32_t>(args->length);
  for (int64_t chunk = first; chunk < last; chunk += blocks_at_once(args)) {
    const int64_t end = last - chunk < blocks_at_once(args) ? last : chunk + blocks_at_once(args);
    for (int64_t block = chunk; block < end; ++block) {
      const int64_t left = args->units - block * kLanes;
      Lanes::load_block(weights + block * kLanes * words, words, static_cast<int>(left < kLanes ? left : kLanes),
                        cached + (block - chunk) * words * kLanes);
    }
    for (int64_t row = 0; row < args->num_rows; row += kRows) {
      const int count = static_cast<int>(args->num_rows - row < kRows ? args->num_rows - row : kRows);
      const uint32_t* const group = rows + row * words;
      for (int64_t block = chunk; block < end; ++block) {
        const uint32_t* const block_weights = cached + (block - chunk) * words * kLanes;
        const int64_t unit = block * kLanes, left = args->units - unit;
        const int64_t number = left < kLanes ? left : kLanes;
        alignas(64) int32_t v[kRows][kLanes];
        Lanes::mismatches(block_weights, group, words, 1, whole, count, v);
        if (whole < words) {  // padding bits of rows and weights may be anything
          for (int r = 0; r < count; ++r) {
            for (int lane = 0; lane < kLanes; ++lane) {
              const uint32_t x = group[r * words + whole] ^ block_weights[whole * kLanes + lane];
              v[r][lane] += __builtin_popcount(x & last_word);
            }
          }
        }
        for (int r = 0; r < count; ++r) {
          for (int lane = 0; lane < kLanes; ++lane) v[r][lane] = length - 2 * v[r][lane];
          std::memcpy(args->dots + (row + r) * args->units + unit, v[r],
                      static_cast<size_t>(number) * sizeof(int32_t));
        }
      }
    }
  }
}

}  // namespace

#endif  // BSBN_ENSEMBLE_PARTS_H
