// Ensembles with the matrix unit AMX, and the parts of a layer with AVX-512.
#include "../ensemble_parts.h"
#include "../fused_linear_blocks.h"
#include "tiles.h"

const bsbn::EnsembleKernels bsbn::ensemble_amx = {
    BSBN_AMX,
    lay_out<TileLanes>,
    run_draws<TileLanes>,
    BSBN_AVX512,
    draw_some_weights<WideLanes>,
    multiplying_bytes,
    multiply_some_units<WideLanes>,
    lay_out_fused<TileLanes>,
    run_fused<TileLanes>,
};
