// The table of pooling kernels, one for each instruction set; see bsbn_max_pool2d in bsbn.h.
#ifndef BSBN_POOLING_H
#define BSBN_POOLING_H

#include "bsbn.h"

namespace bsbn {

struct PoolingKernels {
  int64_t isa;
  // Rows first..last-1 of the output maps, counted through the batch.
  void (*largest)(const bsbn_max_pool2d_args* args, int64_t first, int64_t last);
  void (*sums)(const bsbn_sum_pool2d_args* args, int64_t first, int64_t last);
};

extern const PoolingKernels pooling_portable;
extern const PoolingKernels pooling_avx2;
extern const PoolingKernels pooling_avx512;

}  // namespace bsbn

#endif  // BSBN_POOLING_H
