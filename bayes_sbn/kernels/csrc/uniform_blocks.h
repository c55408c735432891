// Uniforms in [0, 1) from Philox4x32-10: the loops, which every instruction set compiles for itself.
//
// A block is what 16 consecutive counters give, 64 words: counter 16 b + l of block b has the words
// w[0..3][l].  float32 takes one word a value, 64 values a block, w >> 8 in units of 2^-24; float64
// takes two, 32 values a block, (w[2j] >> 5) 2^26 + (w[2j + 1] >> 6) in units of 2^-53.  The counter
// is (low, high, 0, 0xFFFFFFFE), whose last word no other draw has; the key is the seed.
//
// Included by the files of every instruction set, hence nothing here may have external linkage.
#ifndef BSBN_UNIFORM_BLOCKS_H
#define BSBN_UNIFORM_BLOCKS_H

#include <cstdint>
#include <cstring>

#include "uniforms.h"

namespace {

constexpr int kLanes = 16;
constexpr uint32_t kPurpose = 0xFFFFFFFEu;

// `Vector` holds some lanes of a word of the counters; a file of an instruction set supplies it with
//     static constexpr int lanes
//     static Vector broadcast(uint32_t)
//     static Vector count(uint64_t first, int shift)   (first + lane) >> shift, its low word
//     static void multiply(uint32_t m, Vector x, Vector* high, Vector* low)
//     static Vector combine(Vector, Vector, Vector)    exclusive or
//     void store(uint32_t*)
template <class Vector>
inline void philox_block(uint64_t seed, int64_t block, uint32_t (&w)[4][kLanes]) {
  constexpr int parts = kLanes / Vector::lanes;
  Vector x0[parts], x1[parts], x2[parts], x3[parts];
  for (int p = 0; p < parts; ++p) {
    const uint64_t first = static_cast<uint64_t>(block) * kLanes + static_cast<uint64_t>(p * Vector::lanes);
    x0[p] = Vector::count(first, 0);
    x1[p] = Vector::count(first, 32);
    x2[p] = Vector::broadcast(0);
    x3[p] = Vector::broadcast(kPurpose);
  }
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    for (int p = 0; p < parts; ++p) {
      Vector high0, low0, high1, low1;
      Vector::multiply(0xD2511F53u, x0[p], &high0, &low0);
      Vector::multiply(0xCD9E8D57u, x2[p], &high1, &low1);
      x0[p] = Vector::combine(high1, x1[p], Vector::broadcast(k0));
      x2[p] = Vector::combine(high0, x3[p], Vector::broadcast(k1));
      x1[p] = low1;
      x3[p] = low0;
    }
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  for (int p = 0; p < parts; ++p) {
    x0[p].store(w[0] + p * Vector::lanes);
    x1[p].store(w[1] + p * Vector::lanes);
    x2[p].store(w[2] + p * Vector::lanes);
    x3[p].store(w[3] + p * Vector::lanes);
  }
}

inline void write_block(const uint32_t (&w)[4][kLanes], float* values) {
  for (int j = 0; j < 4; ++j)
    for (int l = 0; l < kLanes; ++l)
      values[kLanes * j + l] = static_cast<float>(static_cast<int32_t>(w[j][l] >> 8)) * 0x1p-24f;
}

inline void write_block(const uint32_t (&w)[4][kLanes], double* values) {
  for (int j = 0; j < 2; ++j)
    for (int l = 0; l < kLanes; ++l) {
      const double high = static_cast<double>(static_cast<int32_t>(w[2 * j][l] >> 5));
      const double low = static_cast<double>(static_cast<int32_t>(w[2 * j + 1][l] >> 6));
      values[kLanes * j + l] = (high * 0x1p26 + low) * 0x1p-53;
    }
}

template <class Vector, class Value>
inline void fill_blocks(const bsbn_uniforms_args* args, int64_t first, int64_t last) {
  constexpr int64_t per_block = 4 * kLanes * sizeof(float) / sizeof(Value);
  Value* const values = static_cast<Value*>(args->values);
  const uint64_t seed = static_cast<uint64_t>(args->seed);
  for (int64_t block = first; block < last; ++block) {
    uint32_t w[4][kLanes];
    philox_block<Vector>(seed, block, w);
    const int64_t start = block * per_block;
    if (start + per_block <= args->length) {
      write_block(w, values + start);
    } else {
      Value part[per_block];
      write_block(w, part);
      std::memcpy(values + start, part, static_cast<size_t>(args->length - start) * sizeof(Value));
    }
  }
}

template <class Vector>
void fill(const bsbn_uniforms_args* args, int64_t first, int64_t last) {
  if (args->value_type == BSBN_FLOAT32) {
    fill_blocks<Vector, float>(args, first, last);
  } else {
    fill_blocks<Vector, double>(args, first, last);
  }
}

}  // namespace

#endif  // BSBN_UNIFORM_BLOCKS_H
