// Pooling with ordinary arithmetic: the compiler's vectors of plain loops.
#include "../pooling_cells.h"

const bsbn::PoolingKernels bsbn::pooling_portable = {BSBN_PORTABLE, largest_of_rows, sums_of_rows<16>};
