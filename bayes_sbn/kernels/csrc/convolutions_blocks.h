// Convolutions of packed maps, 16 units at a time.
//
//     dot = channels taps - 2 sum_t popcount(x_t ^ w_t),     t over the taps in the map.
//
// Outputs that have the same taps in the map are gathered, some at a time, and multiplied by one block
// after the other.  `Products` has load_block(source, words, number, weights) and mismatches(weights,
// rows, row_stride, word_stride, words, number, v).
//
// Included by the files of every instruction set, hence nothing here may have external linkage.
#ifndef BSBN_CONVOLUTIONS_BLOCKS_H
#define BSBN_CONVOLUTIONS_BLOCKS_H

#include "convolutions.h"
#include "convolutions_gather.h"

namespace {

constexpr int64_t kUnits = bsbn::kUnitsOfBlock, kTile = bsbn::kGathered;

// Outputs of some maps whose taps in the map are the same.
struct Region {
  int64_t map, maps, top, rows, left, columns;
  Taps down, across;
  int64_t outputs() const { return maps * rows * columns; }
};

// An output of a region; outputs follow each other by columns, rows and maps.
struct Output {
  int64_t map, y, x;
  void step(const Region& region) {
    if (++x < region.left + region.columns) return;
    x = region.left;
    if (++y < region.top + region.rows) return;
    y = region.top;
    ++map;
  }
};

// Blocks of one group whose weights are at hand.
struct Blocks {
  int64_t group, first, number;  // counted in the group
  const uint32_t* weights;
};

template <class Products, class Copy>
class Convolution {
 public:
  Convolution(const bsbn::ConvolutionWork* work, uint8_t* scratch)
      : work_(*work),
        args_(*work->args),
        channels_(args_.maps.channels / args_.groups),
        units_(args_.units / args_.groups),
        words_((channels_ + 31) / 32),
        weights_(reinterpret_cast<uint32_t*>(scratch)),
        rows_(reinterpret_cast<uint32_t*>(scratch + work->weight_bytes)) {}

  // All outputs of some maps, of blocks first..last-1 counted through the groups.
  void run(int64_t map, int64_t maps, int64_t first, int64_t last) const {
    for (int64_t block = first; block < last;) {
      const int64_t group = block / work_.blocks_of_group;
      const int64_t of_group = (group + 1) * work_.blocks_of_group;
      int64_t number = (last < of_group ? last : of_group) - block;
      if (number > work_.blocks_at_once) number = work_.blocks_at_once;
      const Blocks blocks{group, block - group * work_.blocks_of_group, number, weights_};
      load(blocks);
      convolve(map, maps, blocks);
      block += number;
    }
  }

 private:
  int units_in(const Blocks& blocks, int64_t block) const {
    const int64_t left = units_ - (blocks.first + block) * kUnits;
    return static_cast<int>(left < kUnits ? left : kUnits);
  }
  int64_t first_unit(const Blocks& blocks, int64_t block) const {
    return blocks.group * units_ + (blocks.first + block) * kUnits;
  }

  void load(const Blocks& blocks) const {
    const uint32_t* const source = reinterpret_cast<const uint32_t*>(args_.weights);
    const uint32_t used = channel_bits(channels_, words_ - 1);
    for (int64_t block = 0; block < blocks.number; ++block) {
      uint32_t* const weights = weights_ + block * work_.words * kUnits;
      Products::load_block(source + first_unit(blocks, block) * work_.words, work_.words, units_in(blocks, block),
                           weights);
      if (used == 0xFFFFFFFFu) continue;
      for (int64_t word = words_ - 1; word < work_.words; word += words_) {
        for (int64_t lane = 0; lane < kUnits; ++lane) weights[word * kUnits + lane] &= used;
      }
    }
  }

  void convolve(int64_t map, int64_t maps, const Blocks& blocks) const {
    const Axis down = rows_of(args_.maps, args_.window), across = columns_of(args_.maps, args_.window);
    const Gather<Copy> gather(args_, blocks.group);
    for (int64_t y = 0; y < down.outputs;) {
      const int64_t below = next_taps(down, y);
      for (int64_t x = 0; x < across.outputs;) {
        const int64_t right = next_taps(across, x);
        Region region{map, maps, y, below - y, x, right - x, taps_inside(down, y), taps_inside(across, x)};
        if (region.down.number() == 0 || region.across.number() == 0) region.down = region.across = {0, 0};
        Output output{map, y, x};
        for (int64_t left = region.outputs(); left > 0; left -= kTile) {
          tile(region, &output, static_cast<int>(left < kTile ? left : kTile), gather, blocks);
        }
        x = right;
      }
      y = below;
    }
  }

  // Some outputs of a region, from this one on, which then is the one after them.
  void tile(const Region& region, Output* output, int number, const Gather<Copy>& gather, const Blocks& blocks) const {
    const int64_t words = region.down.number() * region.across.number() * words_;
    int32_t* targets[kTile];
    for (int r = 0; r < number; ++r) {
      const auto [map, y, x] = *output;
      gather(map, y, x, region.down, region.across, rows_ + r * words);
      targets[r] = args_.dots + ((map * args_.window.out_height + y) * args_.window.out_width + x) * args_.units;
      output->step(region);
    }
    const int32_t length = static_cast<int32_t>(region.down.number() * region.across.number() * channels_);
    for (int64_t block = 0; block < blocks.number; ++block) {
      alignas(64) int32_t v[kTile][kUnits];
      mismatches(region, blocks.weights + block * work_.words * kUnits, words, number, v);
      const int64_t unit = first_unit(blocks, block);
      const int there = units_in(blocks, block);
      for (int r = 0; r < number; ++r) {
        for (int64_t lane = 0; lane < kUnits; ++lane) v[r][lane] = length - 2 * v[r][lane];
        if (there == kUnits) {
          std::memcpy(targets[r] + unit, v[r], sizeof v[r]);
        } else {
          for (int lane = 0; lane < there; ++lane) targets[r][unit + lane] = v[r][lane];
        }
      }
    }
  }

  // The weights of taps in the map are side by side if their rows are whole, or one; else row by row.
  void mismatches(const Region& region, const uint32_t* weights, int64_t words, int number,
                  int32_t (*v)[kUnits]) const {
    const int64_t width = args_.window.width;
    const bool is_whole = region.across.number() == width || region.down.number() == 1;
    const int64_t run = is_whole ? words : region.across.number() * words_;
    const uint32_t* at = weights + (region.down.first * width + region.across.first) * words_ * kUnits;
    Products::mismatches(at, rows_, words, 1, run, number, v);
    for (int64_t done = run; done < words; done += run) {
      alignas(64) int32_t more[kTile][kUnits];
      at += width * words_ * kUnits;
      Products::mismatches(at, rows_ + done, words, 1, run, number, more);
      for (int r = 0; r < number; ++r) {
        for (int64_t lane = 0; lane < kUnits; ++lane) v[r][lane] += more[r][lane];
      }
    }
  }

  const bsbn::ConvolutionWork& work_;
  const bsbn_xnor_conv2d_args& args_;
  int64_t channels_, units_, words_;  // of a group, and of a tap
  uint32_t* weights_;
  uint32_t* rows_;
};

// Parts of (map, block of units): whole maps at once, and what is left of the first and of the last.
template <class Products, class Copy>
void convolve_some(const bsbn::ConvolutionWork* work, uint8_t* scratch, int64_t first, int64_t last) {
  const Convolution<Products, Copy> convolution(work, scratch);
  const int64_t blocks = work->args->groups * work->blocks_of_group;
  while (first < last) {
    const int64_t map = first / blocks, block = first % blocks, maps = (last - first) / blocks;
    if (block == 0 && maps > 0) {
      convolution.run(map, maps, 0, blocks);
      first += maps * blocks;
    } else {
      const int64_t end = last - map * blocks < blocks ? last - map * blocks : blocks;
      convolution.run(map, 1, block, end);
      first += end - block;
    }
  }
}

}  // namespace

#endif  // BSBN_CONVOLUTIONS_BLOCKS_H
