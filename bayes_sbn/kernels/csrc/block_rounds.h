// The rounds of Philox4x32-10 in which the units of a block differ in one word only.
//
// A counter is (c0, unit, draw, c3).  The unit is first multiplied in round 2, and that product is the
// same for all words and purposes of a block; what is combined with it there, and in rounds 3 and 4, is
// computed once for all units.
//
// Included by the files of instruction sets, hence nothing here may have external linkage.
#ifndef BSBN_BLOCK_ROUNDS_H
#define BSBN_BLOCK_ROUNDS_H

#include "philox.h"

namespace {

constexpr uint32_t kM0 = 0xD2511F53u, kM1 = 0xCD9E8D57u, kW0 = 0x9E3779B9u, kW1 = 0xBB67AE85u;

inline uint32_t upper(uint64_t product) { return static_cast<uint32_t>(product >> 32); }

// With p = M0 (unit ^ first), the product of a block, and b = M1 (high(p) ^ second), the state after
// three rounds is (high(b) ^ third, low(b), p ^ fourth, last), of whose words the low half counts.
struct CommonRounds {
  uint32_t second, third, fourth, last;

  static uint32_t first(uint32_t draw, Key key) { return upper(uint64_t{kM1} * draw) ^ key.k0; }

  CommonRounds(uint32_t c0, uint32_t c3, uint32_t draw, Key key) {
    const uint64_t a1 = uint64_t{kM0} * c0;
    const uint64_t b2 = uint64_t{kM1} * (upper(a1) ^ c3 ^ key.k1);
    const uint64_t a3 = uint64_t{kM0} * (upper(b2) ^ (kM1 * draw) ^ (key.k0 + kW0));
    second = static_cast<uint32_t>(a1) ^ (key.k1 + kW1);
    third = static_cast<uint32_t>(b2) ^ (key.k0 + 2 * kW0);
    fourth = upper(a3) ^ (key.k1 + 2 * kW1);
    last = static_cast<uint32_t>(a3);
  }
};

}  // namespace

#endif  // BSBN_BLOCK_ROUNDS_H
