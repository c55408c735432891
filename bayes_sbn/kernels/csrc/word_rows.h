// Rows of packed words, and products of one block of 16 units at a time.
//
// `Lanes` has mismatches(weights, rows, row_stride, word_stride, words, number, v) of packed rows and
// dots(weights, rows, inputs, number, v) of int16 ones.
//
// Included by the files of instruction sets, hence nothing here may have external linkage.
#ifndef BSBN_WORD_ROWS_H
#define BSBN_WORD_ROWS_H

#include "ensemble_rows.h"

namespace {

template <class Lanes>
class WordRows {
 public:
  static constexpr int kBlocks = 1;
  struct Session {};

  // Those of the block that rows see, and of the one that is drawn.
  static int64_t weight_bytes(int64_t inputs) { return 2 * block_bytes(inputs); }
  // Word by word; an instruction set may have a better way.
  static void load_block(const uint32_t* source, int64_t words, int number, uint32_t* weights) {
    for (int64_t word = 0; word < words; ++word) {
      for (int l = 0; l < kLanes; ++l) weights[word * kLanes + l] = l < number ? source[l * words + word] : 0;
    }
  }

  static void store_block(const uint32_t* weights, int64_t words, int number, uint32_t* target) {
    for (int l = 0; l < number; ++l) {
      for (int64_t word = 0; word < words; ++word) target[l * words + word] = weights[word * kLanes + l];
    }
  }

  static uint32_t* words_of(uint8_t* weights, int64_t, int64_t inputs) {
    return reinterpret_cast<uint32_t*>(weights + block_bytes(inputs));
  }
  static void prepare(uint8_t* weights, int64_t, int64_t inputs) {
    std::memcpy(weights, weights + block_bytes(inputs), static_cast<std::size_t>(block_bytes(inputs)));
  }

  using View = const int16_t*;  // numbers are read as they are
  static int64_t view_bytes(const bsbn_ensemble_args&, int64_t, int64_t) { return 0; }
  static View view(const bsbn_ensemble_args& args, int64_t, int64_t, uint8_t*) { return args.inputs; }

  template <class Beside>
  static void see(const uint8_t* weights, int, const Rows& rows, View numbers, int64_t inputs, int64_t row,
                  int64_t group, int place, int number, Values* v, const Beside&) {
    const int64_t words = (inputs + 31) / 32;
    const uint32_t* const block = reinterpret_cast<const uint32_t*>(weights);
    if (rows.packed != nullptr) {
      Lanes::mismatches(block, rows.packed + group * words * kRows + place, 1, kRows, words, number, v->of + place);
    } else {
      Lanes::dots(block, numbers + row * inputs, inputs, number, v->of + place);
    }
  }

 private:
  static int64_t block_bytes(int64_t inputs) { return (inputs + 31) / 32 * (4 * kLanes); }
};

}  // namespace

#endif  // BSBN_WORD_ROWS_H
