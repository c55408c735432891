// The cells of a window of pooling: the OR of their words, and sums of their bits.
//
// Included by the files of every instruction set, hence nothing here may have external linkage.
#ifndef BSBN_POOLING_CELLS_H
#define BSBN_POOLING_CELLS_H

#include <cstring>

#include "pooling.h"
#include "windows.h"

namespace {

// Calls with(output, first cell in the map, rows of such cells, columns) for each output of rows
// first..last-1.
template <class With>
inline void for_windows(const bsbn_maps& maps, const bsbn_window& window, int64_t first, int64_t last,
                        const With& with) {
  const Axis rows = rows_of(maps, window), columns = columns_of(maps, window);
  const int64_t words = (maps.channels + 31) / 32;
  const uint32_t* const cells = reinterpret_cast<const uint32_t*>(maps.words);
  for (int64_t output = first; output < last; ++output) {
    const int64_t map = output / rows.outputs, y = output % rows.outputs;
    const Taps down = taps_inside(rows, y);
    const int64_t row = map * maps.height + origin(rows, y) + down.first * rows.dilation;
    for (int64_t x = 0; x < columns.outputs; ++x) {
      const Taps across = taps_inside(columns, x);
      const int64_t column = origin(columns, x) + across.first * columns.dilation;
      with(output * columns.outputs + x, cells + (row * maps.width + column) * words, down.number(), across.number());
    }
  }
}

void largest_of_rows(const bsbn_max_pool2d_args* args, int64_t first, int64_t last) {
  const bsbn_maps& maps = args->maps;
  const int64_t words = (maps.channels + 31) / 32;
  const int64_t down = args->window.dilation_height * maps.width * words, across = args->window.dilation_width * words;
  const uint32_t used = channel_bits(maps.channels, words - 1);
  uint32_t* const results = reinterpret_cast<uint32_t*>(args->words);
  for_windows(maps, args->window, first, last, [=](int64_t output, const uint32_t* cell, int64_t rows, int64_t columns) {
    uint32_t* const result = results + output * words;
    for (int64_t word = 0; word < words; ++word) result[word] = 0;
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < columns; ++j) {
        const uint32_t* const at = cell + i * down + j * across;
        for (int64_t word = 0; word < words; ++word) result[word] |= at[word];
      }
    }
    result[words - 1] &= used;
  });
}

// Bits of a word in numbers of 16 bits, by vectors of the instruction set.
template <int bytes>
struct BitLanes {
  typedef int16_t Vector __attribute__((vector_size(bytes)));
  static constexpr int kLanes = bytes / 2, kParts = 32 / kLanes;
};

template <int bytes>
void sums_of_rows(const bsbn_sum_pool2d_args* args, int64_t first, int64_t last) {
  using Lanes = BitLanes<bytes>;
  using Vector = typename Lanes::Vector;
  const bsbn_maps& maps = args->maps;
  const int64_t channels = maps.channels, words = (channels + 31) / 32;
  const int64_t down = args->window.dilation_height * maps.width * words, across = args->window.dilation_width * words;
  int16_t* const results = args->sums;
  Vector places;
  for (int lane = 0; lane < Lanes::kLanes; ++lane) places[lane] = static_cast<int16_t>(1u << lane);
  for_windows(maps, args->window, first, last, [=](int64_t output, const uint32_t* cell, int64_t rows, int64_t columns) {
    const int16_t cells = static_cast<int16_t>(rows * columns);
    for (int64_t word = 0; word < words; ++word) {
      Vector sums[Lanes::kParts] = {};  // minus the number of +1s, at first
      for (int64_t i = 0; i < rows; ++i) {
        for (int64_t j = 0; j < columns; ++j) {
          const uint32_t x = cell[i * down + j * across + word];
          for (int part = 0; part < Lanes::kParts; ++part) {
            const int16_t bits = static_cast<int16_t>(x >> part * Lanes::kLanes);
            sums[part] += ((places & bits) == places);
          }
        }
      }
      for (int part = 0; part < Lanes::kParts; ++part) sums[part] = -2 * sums[part] - cells;
      int16_t both[32];
      std::memcpy(both, sums, sizeof both);
      int16_t* const result = results + output * channels + 32 * word;
      if (channels - 32 * word >= 32) {
        std::memcpy(result, both, sizeof both);
      } else {
        std::memcpy(result, both, static_cast<std::size_t>(channels - 32 * word) * sizeof(int16_t));
      }
    }
  });
}

}  // namespace

#endif  // BSBN_POOLING_CELLS_H
