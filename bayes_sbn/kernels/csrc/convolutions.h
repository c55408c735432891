// The table of convolution kernels, one for each instruction set; see bsbn_xnor_conv2d in bsbn.h.
#ifndef BSBN_CONVOLUTIONS_H
#define BSBN_CONVOLUTIONS_H

#include "bsbn.h"

namespace bsbn {

constexpr int64_t kUnitsOfBlock = 16;

struct ConvolutionWork {
  const bsbn_xnor_conv2d_args* args;
  int64_t words;            // of a kernel
  int64_t blocks_of_group;  // of 16 units
  int64_t blocks_at_once;   // whose weights stay in a cache
  int64_t weight_bytes;     // of these, in the scratch memory of a thread, which then has
  int64_t row_bytes;        // the taps of some outputs
};

struct ConvolutionKernels {
  int64_t isa;
  // Parts first..last-1 of (map, block of units), counted through the maps.
  void (*convolve)(const ConvolutionWork* work, uint8_t* scratch, int64_t first, int64_t last);
};

extern const ConvolutionKernels convolutions_portable;
extern const ConvolutionKernels convolutions_avx2;
extern const ConvolutionKernels convolutions_avx512;

// Outputs whose taps are gathered side by side before blocks of units see them.
constexpr int64_t kGathered = 32;

}  // namespace bsbn

#endif  // BSBN_CONVOLUTIONS_H
