// Ensembles with ordinary arithmetic, in vectors of AVX2 where the compiler finds them.
#include "../ensemble_lanes.h"
#include "../ensemble_parts.h"

const bsbn::EnsembleKernels bsbn::ensemble_avx2 = {
    BSBN_AVX2,
    lay_out<PlainLanes, PlainLanes>,
    run_draws<PlainLanes, PlainLanes>,
    BSBN_AVX2,
    draw_some_weights<PlainLanes>,
    multiplying_bytes,
    multiply_some_units<PlainLanes>,
};
