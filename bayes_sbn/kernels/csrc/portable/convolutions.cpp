// Convolutions with ordinary arithmetic.
#include "../convolutions_blocks.h"
#include "../ensemble_lanes.h"

const bsbn::ConvolutionKernels bsbn::convolutions_portable = {BSBN_PORTABLE, convolve_some<PlainLanes, PlainCopy>};
