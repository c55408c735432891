// Bounds of F64 for parts of its argument: they decide most activations by a look.
//
// Of a law, [-reach, reach] is cut into kCells cells.  An entry is low | (high - low) << 16: wherever
// z lies in the cell or in one of its neighbours, a 16-bit uniform u with u + 1 <= low gives +1 for
// all of the 48-bit uniforms that begin with it, and u >= high gives -1.  The first and the last cell
// stand for everything beyond.
#ifndef BSBN_ACTIVATION_TABLE_H
#define BSBN_ACTIVATION_TABLE_H

#include <cstdint>

#include "bsbn.h"
#include "cdf64.h"
#include "device.h"

namespace {

constexpr int kCells = 4096;

// The logistic law is computed and not looked up.
BSBN_DEVICE inline double table_reach(int64_t law) {
  switch (law) {
    case BSBN_GAUSSIAN:
      return 4.75;
    case BSBN_LAPLACE:
      return 12.0;
    default:
      return 1.0078125;
  }
}

// rint(F64(z) 2^48) as a bound of 16-bit uniforms: u + 1 <= sure_below(z) is surely +1, and
// u >= sure_above(z) surely -1.
BSBN_DEVICE inline int64_t sure_below(int64_t law, double z) { return threshold48(law, z, 1.0) >> 32; }
BSBN_DEVICE inline int64_t sure_above(int64_t law, double z) {
  return (threshold48(law, z, 1.0) + 0xFFFFFFFF) >> 32;
}

BSBN_DEVICE inline uint32_t table_entry(int64_t law, int cell) {
  const double reach = table_reach(law);
  const double left = (cell - 1) * (2 * reach / kCells) - reach;
  const double right = (cell + 2) * (2 * reach / kCells) - reach;
  int64_t low = cell == 0 ? 0 : sure_below(law, left);
  const int64_t high = cell == kCells - 1 ? 65536 : sure_above(law, right);
  if (low > 65535) low = 65535;
  return static_cast<uint32_t>(low | (high - low) << 16);
}

// F64 in 16 bits, for a look at 32 activations at once.
//
// With z = t reach / 32768 for a 16-bit t, [-reach, reach) is cut into 32 pieces of 2048 values of t.
// On piece (t >> 11) mod 32, with f = t mod 2048 - 1024 from its middle and
//
//     y = c0 + c1 f / 1024 + c2 (f / 1024)^2    in 16-bit arithmetic (coarse_rise),
//
// a 16-bit uniform u < y - guard gives +1 and u >= y + guard gives -1 for all of the 48-bit uniforms that
// begin with it, wherever 32768 z / reach is within kCoarseError of t; -32768 and 32767 stand for
// everything beyond, too.  The guard is found by a look at every t.
}  // namespace

namespace bsbn {

struct CoarseTable {
  alignas(64) int16_t c0[32], c1[32], c2[32];
  int32_t guard;
};

}  // namespace bsbn

namespace {

using bsbn::CoarseTable;

constexpr double kCoarseError = 0.75;

BSBN_DEVICE inline double coarse_reach(int64_t law) {
  switch (law) {
    case BSBN_LOGISTIC:
      return 9.0;
    case BSBN_GAUSSIAN:
      return 4.0;
    case BSBN_LAPLACE:
      return 7.25;
    default:
      return 1.0;
  }
}

// (a b + 2^14) >> 15, as pmulhrsw has it.
BSBN_DEVICE inline int32_t rounded_product(int32_t a, int32_t b) { return (a * b + (1 << 14)) >> 15; }

// y - c0
BSBN_DEVICE inline int32_t coarse_rise(const CoarseTable& table, int32_t t) {
  const int32_t piece = t >> 11 & 31;
  const int32_t f = static_cast<int16_t>(static_cast<uint16_t>(t * 32) ^ 0x8000u);
  const int32_t slope = static_cast<int16_t>(table.c1[piece] + rounded_product(f, table.c2[piece]));
  return rounded_product(f, slope);
}

}  // namespace

#endif  // BSBN_ACTIVATION_TABLE_H
