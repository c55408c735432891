// Ensembles with AVX2.
#include "../ensemble_parts.h"
#include "../fused_linear_blocks.h"
#include "lanes.h"

const bsbn::EnsembleKernels bsbn::ensemble_avx2 = {
    BSBN_AVX2,
    lay_out<HalfLanes, HalfLanes>,
    run_draws<HalfLanes, HalfLanes>,
    BSBN_AVX2,
    draw_some_weights<HalfLanes>,
    multiplying_bytes,
    multiply_some_units<HalfLanes>,
    lay_out_fused<HalfLanes, HalfLanes>,
    run_fused<HalfLanes, HalfLanes>,
};
