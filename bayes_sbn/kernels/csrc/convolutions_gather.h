// The taps of an output, gathered side by side as packed words of the channels of a group.
//
// Included by the files of every instruction set, hence nothing here may have external linkage.
#ifndef BSBN_CONVOLUTIONS_GATHER_H
#define BSBN_CONVOLUTIONS_GATHER_H

#include <cstring>

#include "windows.h"

namespace {

// A loop: rows of taps are too short for a call.
struct PlainCopy {
  static void words(const uint32_t* source, int64_t number, uint32_t* target) {
    for (int64_t word = 0; word < number; ++word) target[word] = source[word];
  }
};

// Words of `channels` channels of a cell from the one with number `first` on; bits beyond them are 0.
template <class Copy>
inline void copy_channels(const uint32_t* cell, int64_t first, int64_t channels, uint32_t* target) {
  const uint32_t* const source = cell + first / 32;
  const int64_t words = (channels + 31) / 32, last = (first + channels - 1) / 32 - first / 32;
  const uint32_t shift = static_cast<uint32_t>(first % 32);
  if (shift == 0) {
    Copy::words(source, words, target);
  } else {
    for (int64_t word = 0; word < words; ++word) {
      const uint32_t high = word < last ? source[word + 1] << (32 - shift) : 0;
      target[word] = source[word] >> shift | high;
    }
  }
  target[words - 1] &= channel_bits(channels, words - 1);
}

// `Copy` has words(source, number, target).
template <class Copy>
class Gather {
 public:
  Gather(const bsbn_xnor_conv2d_args& args, int64_t group)
      : maps_(args.maps),
        rows_(rows_of(args.maps, args.window)),
        columns_(columns_of(args.maps, args.window)),
        channels_(args.maps.channels / args.groups),
        first_(group * channels_),
        cell_((args.maps.channels + 31) / 32),
        has_runs_(args.groups == 1 && channels_ % 32 == 0 && columns_.dilation == 1) {}

  // Those taps of output (y, x) of a map that are in `down` and `across`.
  void operator()(int64_t map, int64_t y, int64_t x, const Taps& down, const Taps& across, uint32_t* target) const {
    const uint32_t* const cells = reinterpret_cast<const uint32_t*>(maps_.words) + map * maps_.height * maps_.width * cell_;
    const int64_t words = (channels_ + 31) / 32, left = origin(columns_, x) + across.first * columns_.dilation;
    for (int64_t i = down.first; i < down.last; ++i) {
      const int64_t row = origin(rows_, y) + i * rows_.dilation;
      const uint32_t* cell = cells + (row * maps_.width + left) * cell_;
      if (has_runs_) {
        const int64_t run = across.number() * words;
        Copy::words(cell, run, target);
        target += run;
        continue;
      }
      for (int64_t j = across.first; j < across.last; ++j) {
        copy_channels<Copy>(cell, first_, channels_, target);
        cell += columns_.dilation * cell_;
        target += words;
      }
    }
  }

 private:
  const bsbn_maps& maps_;
  Axis rows_, columns_;
  int64_t channels_, first_, cell_;
  bool has_runs_;
};

}  // namespace

#endif  // BSBN_CONVOLUTIONS_GATHER_H
