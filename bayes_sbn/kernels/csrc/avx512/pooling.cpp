// Pooling with AVX-512: the compiler's vectors of plain loops.
#include "../pooling_cells.h"

const bsbn::PoolingKernels bsbn::pooling_avx512 = {BSBN_AVX512, largest_of_rows, sums_of_rows<32>};
