// Groups of rows, the words that their noise is counted by, and what units see of them.
//
// Included by the files of every instruction set, hence nothing here may have external linkage.
#ifndef BSBN_ENSEMBLE_ROWS_H
#define BSBN_ENSEMBLE_ROWS_H

#include <cstring>

#include "ensemble.h"
#include "ensemble_decisions.h"

namespace {

constexpr int kParts = 1024;  // of the products of a group, as they are reported
constexpr int kRows = 32;  // rows of a group, which share words of the noise
constexpr int kHotPlanes = 9, kColdPlanes = 24;

// What units see of the rows of a group.
struct Values {
  alignas(64) int32_t of[kRows][kLanes];
};

struct Tie {
  uint32_t place;  // 16 word + unit of the block
  uint32_t open;   // which of its 32 weights
};

// The bits of a word that stand for inputs.
inline uint32_t valid_bits(int64_t inputs, int64_t word) {
  const int64_t left = inputs - 32 * word;
  return left >= 32 ? 0xFFFFFFFFu : (1u << left) - 1;
}

// The rows that a layer reads and those that it writes.  Packed ones lie in groups of 32 that share words
// of noise, (groups, words, 32): what a block of units reads or writes of a group is in few lines of a
// cache.  The first row has its place in the first group.
struct Rows {
  const uint32_t* packed;  // null of numbers
  uint32_t* upper;
  int64_t upper_words;
};

inline int64_t num_groups(const bsbn_ensemble_args& args) {
  return (args.first_row % kRows + args.rows + kRows - 1) / kRows;
}

}  // namespace

#endif  // BSBN_ENSEMBLE_ROWS_H
