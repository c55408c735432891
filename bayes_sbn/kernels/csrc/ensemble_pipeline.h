// A layer of one draw of a network for all rows.
//
// Block by block of 16 units, or some blocks at once, packed weights are drawn into the nearest cache,
// all rows see them, 32 at a time, and the activations are decided and packed into the rows that the
// next layer reads.  While rows are multiplied, the activations of the rows before are decided and the
// weights of the next blocks are drawn, a slice at a time: where products are made by a unit of their
// own, it and the vector units work at once.
//
// Included by the files of every instruction set, hence nothing here may have external linkage.
#ifndef BSBN_ENSEMBLE_PIPELINE_H
#define BSBN_ENSEMBLE_PIPELINE_H

#include "ensemble_rules.h"

namespace {

template <class Lanes>
class Pipeline {
 public:
  Pipeline(const bsbn::EnsembleWork* work, int64_t index, int64_t position, const Rows& rows,
           const typename Lanes::View view, uint8_t* weights, Tie* ties)
      : args_(*work->args),
        layer_(args_.layers[index]),
        tables_(work->tables[index]),
        rows_(rows),
        view_(view),
        weights_(weights),
        ties_(ties),
        key_{static_cast<uint32_t>(args_.key0), static_cast<uint32_t>(args_.key1)},
        draw_(static_cast<uint32_t>(args_.draws[position])),
        position_(position),
        dots_rows_(work->dots_rows),
        magnitude_(index == 0 ? work->magnitude : 1),
        most_(layer_.inputs * (rows.packed != nullptr ? 1 : work->largest_input)),
        num_words_((layer_.inputs + 31) / 32),
        num_blocks_((layer_.units + kLanes - 1) / kLanes),
        is_last_(index + 1 == args_.num_layers) {}

  void run() {
    draw_from(0);
    draw_until(to_draw_);
    for (int64_t first = 0, turn = 0; first < num_blocks_; first += Lanes::kBlocks, turn ^= 1) {
      Blocks& blocks = blocks_[turn];
      blocks.first = drawing_.first;
      blocks.number = drawing_.number;
      for (int b = 0; b < blocks.number; ++b) blocks.lanes[b] = drawing_.lanes[b];
      for (int b = 0; b < blocks.number; ++b) prepare(&blocks, b);
      draw_from(first + Lanes::kBlocks);
      for (int64_t row = 0; row < args_.rows;) {
        const int64_t group = (args_.first_row % kRows + row) / kRows;
        const int place = static_cast<int>((args_.first_row + row) % kRows);
        const int number = static_cast<int>(args_.rows - row < kRows - place ? args_.rows - row : kRows - place);
        Values* const v = v_[side_];
        const int64_t slices = waiting_.blocks == nullptr ? 0 : kSlices;
        // so many words of the next blocks for each row
        const int64_t drawn_before = drawn_, draws = to_draw_ * (row + number) / args_.rows - drawn_before;
        const int64_t slice_rate = (slices << 16) / kParts, draw_rate = (draws << 16) / kParts;
        Lanes::see(weights_, blocks.number, rows_, view_, layer_.inputs, row, group, place, number, v, [&](int64_t parts) {
          decide_until(slice_rate * parts >> 16);
          draw_until(drawn_before + (draw_rate * parts >> 16));
        });
        decide_until(slices);
        draw_until(drawn_before + draws);
        wait(&blocks, v, group, row, place, number);
        side_ ^= 1;
        row += number;
      }
    }
    decide_until(kSlices);
  }

 private:
  static constexpr int64_t kSlices = kRows / 2;

  // Blocks that see the rows together.
  struct Blocks {
    int64_t first;
    int number;
    Lanes lanes[Lanes::kBlocks];
    Rule rules[Lanes::kBlocks];
  };

  // Rows whose activations wait to be decided.
  struct Group {
    const Blocks* blocks;
    const Values* v;
    int64_t group, row;
    int place, number;
    uint8_t* target[Lanes::kBlocks];  // where the bits of a block are written
    bool is_alone[Lanes::kBlocks];    // whether it has the word for itself
  };

  // ---- weights

  // Slices: a word of each block, one after the other, then the ties of each block.
  void draw_from(int64_t first) {
    drawing_.first = first;
    const int64_t left = num_blocks_ - first;
    drawing_.number = static_cast<int>(left < 0 ? 0 : left < Lanes::kBlocks ? left : Lanes::kBlocks);
    for (int b = 0; b < drawing_.number; ++b) {
      drawing_.lanes[b] = Lanes(key_, draw_, static_cast<uint32_t>((first + b) * kLanes));
      num_ties_[b] = 0;
    }
    drawn_ = 0;
    to_draw_ = layer_.words != nullptr ? drawing_.number : drawing_.number * (num_words_ + 1);
  }

  [[gnu::noinline]] void draw_until(int64_t target) {
    for (; drawn_ < target; ++drawn_) {
      if (layer_.words != nullptr) {
        const int b = static_cast<int>(drawn_);
        load_weights<Lanes>(layer_, position_, (drawing_.first + b) * kLanes, number_of(drawing_.first + b),
                            Lanes::words_of(weights_, b, layer_.inputs));
        continue;
      }
      const bool is_tie = drawn_ >= drawing_.number * num_words_;
      const int b = static_cast<int>(is_tie ? drawn_ - drawing_.number * num_words_ : drawing_word_block());
      uint32_t* const words = Lanes::words_of(weights_, b, layer_.inputs);
      Tie* const ties = ties_ + b * ties_of_block();
      const int64_t block = drawing_.first + b;
      if (is_tie) {
        drawing_.lanes[b].settle(layer_.cold + block * num_words_ * kColdPlanes * kLanes, layer_.site, ties,
                                 num_ties_[b], words);
      } else {
        const int64_t word = drawn_ - b * num_words_;
        num_ties_[b] += drawing_.lanes[b].draw_word(
            layer_.hot + (block * num_words_ + word) * kHotPlanes * kLanes, layer_.site, layer_.inputs, word,
            words, ties + num_ties_[b]);
      }
    }
  }

  int64_t drawing_word_block() const { return Lanes::kBlocks == 1 || drawn_ < num_words_ ? 0 : 1; }
  int64_t ties_of_block() const { return kLanes * (num_words_ + 1); }
  int number_of(int64_t block) const {
    const int64_t left = layer_.units - block * kLanes;
    return static_cast<int>(left < kLanes ? left : kLanes);
  }

  // A block whose weights are drawn, and what its activations are decided by.
  void prepare(Blocks* blocks, int b) {
    Lanes::prepare(weights_, b, layer_.inputs);
    const int64_t first_unit = (blocks->first + b) * kLanes;
    Rule& rule = blocks->rules[b];
    name_units(layer_, position_, first_unit, is_last_, &rule);
    rule.units.magnitude = magnitude_;
    rule.units.counts_mismatches = rows_.packed != nullptr;
    if (is_last_) return;
    if (args_.is_shared) {
      share_noise(blocks->lanes[b], most_, &rule);
    } else {
      make_squeeze(rule.units, most_, *tables_.coarse, &rule.squeeze);
    }
  }

  // ---- activations

  void wait(const Blocks* blocks, const Values* v, int64_t group, int64_t row, int place, int number) {
    waiting_ = Group{blocks, v, group, row, place, number, {}, {}};
    for (int b = 0; b < blocks->number && !is_last_; ++b) {
      const int64_t block = blocks->first + b;
      uint32_t* const word = rows_.upper + (group * rows_.upper_words + block / 2) * kRows;
      waiting_.target[b] = reinterpret_cast<uint8_t*>(word) + block % 2 * 2;
      waiting_.is_alone[b] = block % 2 == 0 && block + 1 == num_blocks_;
    }
    decided_ = 0;
  }

  // Slices: two neighbouring rows of all blocks, in an order in which words of noise are used together.
  [[gnu::noinline]] void decide_until(int64_t target) {
    for (; decided_ < target; ++decided_) {
      const uint32_t c0 = static_cast<uint32_t>(decided_) >> 2, word = decided_ & 3, pair = 4 * word + c0;
      for (int b = 0; b < waiting_.blocks->number; ++b) {
        if (is_last_) {
          write_dots(b, pair);
        } else if (args_.is_shared) {
          compare(b, pair);
        } else {
          if (decided_ % 8 == 0) draw_noise(b, c0);
          decide(b, pair, noise_[b][c0 % 2][word]);
        }
      }
    }
  }

  bool waits(uint32_t at) const { return at - static_cast<uint32_t>(waiting_.place) < static_cast<uint32_t>(waiting_.number); }
  int64_t row_at(uint32_t at) const { return waiting_.row + at - waiting_.place; }

  void write_dots(int b, uint32_t pair) {
    const Units& units = waiting_.blocks->rules[b].units;
    for (uint32_t at = 2 * pair; at < 2 * pair + 2; ++at) {
      if (!waits(at)) continue;
      int64_t* const dots = args_.dots + (position_ * dots_rows_ + row_at(at)) * layer_.units +
                            (waiting_.blocks->first + b) * kLanes;
      for (int lane = 0; lane < units.number; ++lane) dots[lane] = units.dot(waiting_.v[b].of[at][lane]);
    }
  }

  // The bits of a block, those of the first row below; and zeros up to the end of the word where it is the
  // last block.  Rows that are not there may be written: their places are no other's.
  void write(int b, uint32_t pair, uint32_t bits) {
    uint8_t* const target = waiting_.target[b] + 8 * pair;
    if (waiting_.is_alone[b]) {
      const uint64_t both = uint64_t{bits >> 16} << 32 | (bits & 0xFFFF);
      std::memcpy(target, &both, sizeof both);
    } else {
      const uint16_t first = static_cast<uint16_t>(bits), second = static_cast<uint16_t>(bits >> 16);
      std::memcpy(target, &first, sizeof first);
      std::memcpy(target + 4, &second, sizeof second);
    }
  }

  void compare(int b, uint32_t pair) {
    const Rule& rule = waiting_.blocks->rules[b];
    const int32_t(*const v)[kLanes] = waiting_.v[b].of + 2 * pair;
    const uint32_t up = Lanes::at_most(rule.bounds, v[0]) | Lanes::at_most(rule.bounds, v[1]) << 16;
    write(b, pair, (up ^ rule.bounds.flips * 0x10001u) & rule.there * 0x10001u);
  }

  void draw_noise(int b, uint32_t c0) {
    const int64_t group = args_.first_row / kRows + waiting_.group;
    waiting_.blocks->lanes[b].two_words(static_cast<uint32_t>(4 * group) + c0,
                                        counter_word(layer_.site, kRowNoise), noise_[b]);
  }

  void decide(int b, uint32_t pair, const uint32_t (&words)[kLanes]) {
    const Rule& rule = waiting_.blocks->rules[b];
    uint32_t up, open;
    Lanes::look(rule.squeeze, layer_.law, tables_, waiting_.v[b].of + 2 * pair, words, &up, &open);
    const uint32_t there = rule.there * 0x10001u;
    open &= there;
    if (__builtin_expect(open != 0, 0)) up = decide_open(b, pair, words, up, open);
    write(b, pair, up & there);
  }

  // The bits of units that a look left open, by the squeeze, and of what that leaves by the exact rule.
  [[gnu::noinline]] uint32_t decide_open(int b, uint32_t pair, const uint32_t (&words)[kLanes], uint32_t up,
                                         uint32_t open) const {
    const Rule& rule = waiting_.blocks->rules[b];
    for (uint32_t odd = 0; odd < 2; ++odd) {
      const uint32_t at = 2 * pair + odd, shift = 16 * odd, open_here = open >> shift & 0xFFFF;
      if (open_here == 0 || !waits(at)) continue;
      const int32_t* const v = waiting_.v[b].of[at];
      uint32_t still_open;
      uint32_t bits = Lanes::squeeze(rule.squeeze, layer_.law, tables_.cells, v, words, static_cast<int>(shift),
                                     &still_open);
      for (still_open &= open_here; still_open != 0; still_open &= still_open - 1) {
        const int lane = __builtin_ctz(still_open);
        const uint32_t unit = static_cast<uint32_t>((waiting_.blocks->first + b) * kLanes + lane);
        const bool is_up = decide_exactly(rule.units, lane, v[lane], words[lane] >> shift & 0xFFFFu,
                                          static_cast<uint32_t>(args_.first_row + row_at(at)), unit, draw_, key_);
        bits = (bits & ~(1u << lane)) | static_cast<uint32_t>(is_up) << lane;
      }
      up = (up & ~(open_here << shift)) | (bits & open_here) << shift;
    }
    return up;
  }

  const bsbn_ensemble_args& args_;
  const bsbn_ensemble_layer& layer_;
  const bsbn::ActivationTables tables_;
  const Rows rows_;
  const typename Lanes::View view_;
  uint8_t* const weights_;
  Tie* const ties_;
  const Key key_;
  const uint32_t draw_;
  const int64_t position_, dots_rows_, magnitude_, most_, num_words_, num_blocks_;
  const bool is_last_;

  struct {
    int64_t first;
    int number;
    Lanes lanes[Lanes::kBlocks];
  } drawing_;
  Blocks blocks_[2];
  int64_t drawn_ = 0, to_draw_ = 0, num_ties_[Lanes::kBlocks];
  Values v_[2][Lanes::kBlocks] = {};
  int side_ = 0;
  Group waiting_ = {};
  int64_t decided_ = 0;
  alignas(64) uint32_t noise_[Lanes::kBlocks][2][4][kLanes];  // by two counters and output word
};

}  // namespace

#endif  // BSBN_ENSEMBLE_PIPELINE_H
