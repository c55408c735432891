// Random words: Philox4x32-10 of a counter that says what the words are for.
//
// Defined by bayes_sbn/kernels/reference/sampling.py: the counter is (c0, output unit, draw,
// site << 16 | purpose << 8 | group), and c0 depends on the purpose.
//
// Included by the files of every instruction set, hence nothing here may have external linkage.
#ifndef BSBN_PHILOX_H
#define BSBN_PHILOX_H

#include <cstdint>

#include "device.h"

namespace {

enum Purpose : uint32_t { kWeights = 0, kRowNoise = 1, kRowNoiseTies = 2, kSharedNoise = 3 };

struct Key {
  uint32_t k0, k1;
};

BSBN_DEVICE inline uint32_t counter_word(int64_t site, uint32_t purpose, uint32_t group = 0) {
  return static_cast<uint32_t>(site) << 16 | purpose << 8 | group;
}

BSBN_DEVICE inline void philox(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, Key key,
                               uint32_t (&out)[4]) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53u} * c0, b = uint64_t{0xCD9E8D57u} * c2;
    c0 = static_cast<uint32_t>(b >> 32) ^ c1 ^ key.k0;
    c2 = static_cast<uint32_t>(a >> 32) ^ c3 ^ key.k1;
    c1 = static_cast<uint32_t>(b);
    c3 = static_cast<uint32_t>(a);
    key.k0 += 0x9E3779B9u;
    key.k1 += 0xBB67AE85u;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

}  // namespace

#endif  // BSBN_PHILOX_H
