// Bounds of F64 on cells of its argument: they decide most activations by a look.
//
// Of a law, [-reach, reach] is cut into kCells cells.  An entry is low | (high - low) << 16: wherever
// z lies in the cell or in one of its neighbours, a 16-bit uniform u with u + 1 <= low gives +1 for
// all of the 48-bit uniforms that begin with it, and u >= high gives -1.  The first and the last cell
// stand for everything beyond.
#ifndef BSBN_ACTIVATION_TABLE_H
#define BSBN_ACTIVATION_TABLE_H

#include <cstdint>

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

BSBN_DEVICE inline uint32_t table_entry(int64_t law, int cell) {
  const double reach = table_reach(law);
  const double left = (cell - 1) * (2 * reach / kCells) - reach;
  const double right = (cell + 2) * (2 * reach / kCells) - reach;
  int64_t low = cell == 0 ? 0 : threshold48(law, left, 1.0) >> 32;
  const int64_t below = threshold48(law, right, 1.0);
  const int64_t high = cell == kCells - 1 ? 65536 : (below + 0xFFFFFFFF) >> 32;
  if (low > 65535) low = 65535;
  return static_cast<uint32_t>(low | (high - low) << 16);
}

}  // namespace

#endif  // BSBN_ACTIVATION_TABLE_H
