// The table of kernels that fill uniforms, one for each instruction set.
//
// Each kernel does blocks first..last-1; see uniform_blocks.h for what a block is.
#ifndef BSBN_UNIFORMS_H
#define BSBN_UNIFORMS_H

#include "bsbn.h"

namespace bsbn {

struct UniformKernels {
  int64_t isa;
  void (*fill)(const bsbn_uniforms_args* args, int64_t first, int64_t last);
};

extern const UniformKernels uniforms_portable;
extern const UniformKernels uniforms_avx2;
extern const UniformKernels uniforms_avx512;

}  // namespace bsbn

#endif  // BSBN_UNIFORMS_H
