// Rows of packed words, and products of one block of 16 units at a time.
//
// `Lanes` has mismatches(weights, rows, row_words, words, number, v) of packed rows and
// dots(weights, rows, inputs, number, v) of int16 ones.
//
// Included by the files of instruction sets, hence nothing here may have external linkage.
#ifndef BSBN_WORD_ROWS_H
#define BSBN_WORD_ROWS_H

#include "ensemble_draws.h"

namespace {

template <class Lanes>
class WordRows {
 public:
  static constexpr int kBlocks = 1;
  struct Session {};

  static int64_t weight_bytes(int64_t inputs) { return (inputs + 31) / 32 * (4 * kLanes); }
  static int64_t row_bytes(int64_t values) { return (values + 511) / 512 * 64; }
  static int64_t input_row_bytes(int64_t, bool, int64_t) { return 0; }

  static uint32_t* words_of(uint8_t* weights, int64_t, int64_t) { return reinterpret_cast<uint32_t*>(weights); }
  static void prepare(uint8_t*, int64_t, int64_t) {}

  static Rows inputs(const bsbn::EnsembleWork* work, uint8_t*) {
    const bsbn_ensemble_args& args = *work->args;
    const int64_t length = args.layers[0].inputs;
    if (work->packed == nullptr) {
      return Rows{reinterpret_cast<const uint8_t*>(args.inputs), 2 * length, false, nullptr, 0};
    }
    return Rows{reinterpret_cast<const uint8_t*>(work->packed), (length + 31) / 32 * 4, true, nullptr, 0};
  }

  static void see(const uint8_t* weights, int, const Rows& rows, int64_t inputs, int64_t first, int number,
                  int place, Values* v) {
    const uint8_t* const lower = rows.lower + first * rows.lower_stride;
    const uint32_t* const words = reinterpret_cast<const uint32_t*>(weights);
    if (rows.are_signs) {
      Lanes::mismatches(words, reinterpret_cast<const uint32_t*>(lower), rows.lower_stride / 4, (inputs + 31) / 32,
                        number, v->of + place);
    } else {
      Lanes::dots(words, reinterpret_cast<const int16_t*>(lower), inputs, number, v->of + place);
    }
  }

  // Zeros up to the end of the word where the block is the last one.
  static void write(const Rows& rows, int64_t row, int64_t block, bool is_last, uint32_t bits) {
    uint8_t* const target = rows.upper + row * rows.upper_stride + 2 * block;
    if (is_last && block % 2 == 0) {
      std::memcpy(target, &bits, sizeof bits);
    } else {
      const uint16_t half = static_cast<uint16_t>(bits);
      std::memcpy(target, &half, sizeof half);
    }
  }
};

}  // namespace

#endif  // BSBN_WORD_ROWS_H
