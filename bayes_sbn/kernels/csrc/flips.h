// The table of flip kernels, one for each instruction set; see bsbn_flip_sums in bsbn.h.
#ifndef BSBN_FLIPS_H
#define BSBN_FLIPS_H

#include "bsbn.h"

namespace bsbn {

// Columns are summed in groups of this size, the unit of work of a thread.
constexpr int64_t kFlipColumns = 64;

struct FlipKernels {
  int64_t isa;
  // Groups first..last-1 of columns, counted through the batch.
  void (*sums)(const bsbn_flip_sums_args* args, int64_t first, int64_t last);
};

extern const FlipKernels flips_portable;
extern const FlipKernels flips_avx2;
extern const FlipKernels flips_avx512;

}  // namespace bsbn

#endif  // BSBN_FLIPS_H
