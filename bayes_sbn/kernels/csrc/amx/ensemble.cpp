// Ensembles with AVX-512, and with the matrix unit AMX where inputs are numbers.
//
// Products of +-1 are left to AVX-512: what else runs on a core shares its matrix unit.
#include "../ensemble_parts.h"
#include "../fused_linear_blocks.h"
#include "tiles.h"

const bsbn::EnsembleKernels bsbn::ensemble_amx = {
    BSBN_AMX,
    lay_out<WideLanes, TileLanes>,
    run_draws<WideLanes, TileLanes>,
    BSBN_AVX512,
    draw_some_weights<WideLanes>,
    multiplying_bytes,
    multiply_some_units<WideLanes>,
    lay_out_fused<WideLanes, TileLanes>,
    run_fused<WideLanes, TileLanes>,
};
