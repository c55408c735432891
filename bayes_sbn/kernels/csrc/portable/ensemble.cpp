// Ensembles with ordinary arithmetic.
#include "../ensemble_lanes.h"
#include "../ensemble_parts.h"
#include "../fused_linear_blocks.h"

const bsbn::EnsembleKernels bsbn::ensemble_portable = {
    BSBN_PORTABLE,
    lay_out<PlainLanes, PlainLanes>,
    run_draws<PlainLanes, PlainLanes>,
    BSBN_PORTABLE,
    draw_some_weights<PlainLanes>,
    multiplying_bytes,
    multiply_some_units<PlainLanes>,
    lay_out_fused<PlainLanes, PlainLanes>,
    run_fused<PlainLanes, PlainLanes>,
};
