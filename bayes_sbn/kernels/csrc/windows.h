// Which taps of a kernel, or cells of a window of pooling, lie in the map.
//
// Included by the files of every instruction set, hence nothing here may have external linkage.
#ifndef BSBN_WINDOWS_H
#define BSBN_WINDOWS_H

#include <cstdint>

#include "bsbn.h"

namespace {

// Along one axis: tap k of output i is at i * stride - before + k * dilation.
struct Axis {
  int64_t size, taps, stride, dilation, before, outputs;
};

inline Axis rows_of(const bsbn_maps& maps, const bsbn_window& w) {
  return {maps.height, w.height, w.stride_height, w.dilation_height, w.top, w.out_height};
}

inline Axis columns_of(const bsbn_maps& maps, const bsbn_window& w) {
  return {maps.width, w.width, w.stride_width, w.dilation_width, w.left, w.out_width};
}

// Taps first..last-1; {0, 0} if there are none.
struct Taps {
  int64_t first, last;
  int64_t number() const { return last - first; }
  bool operator==(const Taps& other) const { return first == other.first && last == other.last; }
};

inline int64_t origin(const Axis& axis, int64_t output) { return output * axis.stride - axis.before; }

inline Taps taps_inside(const Axis& axis, int64_t output) {
  const int64_t start = origin(axis, output), room = axis.size - 1 - start;
  const int64_t first = start >= 0 ? 0 : (-start + axis.dilation - 1) / axis.dilation;
  const int64_t fitting = room < 0 ? 0 : room / axis.dilation + 1;
  const int64_t last = fitting < axis.taps ? fitting : axis.taps;
  return first < last ? Taps{first, last} : Taps{0, 0};
}

// The first output after this one whose taps are others.
inline int64_t next_taps(const Axis& axis, int64_t output) {
  const Taps taps = taps_inside(axis, output);
  do {
    ++output;
  } while (output < axis.outputs && taps_inside(axis, output) == taps);
  return output;
}

// The bits of a word that stand for channels.
inline uint32_t channel_bits(int64_t channels, int64_t word) {
  const int64_t left = channels - 32 * word;
  return left >= 32 ? 0xFFFFFFFFu : (1u << left) - 1;
}

}  // namespace

#endif  // BSBN_WINDOWS_H
