// Bounds of F64 on cells of its argument: they decide most activations by a look.
//
// Of a law, [-reach, reach] is cut into kCells cells.  An entry is low | (high - low) << 16: wherever
// z lies in the cell or in one of its neighbours, a 16-bit uniform u with u + 1 <= low gives +1 for
// all of the 48-bit uniforms that begin with it, and u >= high gives -1.  The first and the last cell
// stand for everything beyond.
#ifndef BSBN_ACTIVATION_TABLE_H
#define BSBN_ACTIVATION_TABLE_H

#include <cstdint>

#include "bsbn.h"

namespace {

constexpr int kCells = 4096;

// The logistic law is computed and not looked up.
inline double table_reach(int64_t law) {
  switch (law) {
    case BSBN_GAUSSIAN:
      return 4.75;
    case BSBN_LAPLACE:
      return 12.0;
    default:
      return 1.0078125;
  }
}

}  // namespace

#endif  // BSBN_ACTIVATION_TABLE_H
