// Ensembles with AVX-512.
#include "../ensemble_parts.h"
#include "../fused_linear_blocks.h"
#include "lanes.h"

const bsbn::EnsembleKernels bsbn::ensemble_avx512 = {
    BSBN_AVX512,
    lay_out<WideLanes, WideLanes>,
    run_draws<WideLanes, WideLanes>,
    BSBN_AVX512,
    draw_some_weights<WideLanes>,
    multiplying_bytes,
    multiply_some_units<WideLanes>,
    lay_out_fused<WideLanes, WideLanes>,
    run_fused<WideLanes, WideLanes>,
};
