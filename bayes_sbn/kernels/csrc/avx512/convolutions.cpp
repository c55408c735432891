// Convolutions with AVX-512.
#include "../convolutions_blocks.h"
#include "products.h"

const bsbn::ConvolutionKernels bsbn::convolutions_avx512 = {BSBN_AVX512, convolve_some<WideProducts>};
