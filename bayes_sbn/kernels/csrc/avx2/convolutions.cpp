// Convolutions with AVX2.
#include "../convolutions_blocks.h"
#include "products.h"

const bsbn::ConvolutionKernels bsbn::convolutions_avx2 = {BSBN_AVX2, convolve_some<HalfProducts, PlainCopy>};
