// Pooling with AVX2: the compiler's vectors of plain loops.
#include "../pooling_cells.h"

const bsbn::PoolingKernels bsbn::pooling_avx2 = {BSBN_AVX2, largest_of_rows, sums_of_rows<32>};
