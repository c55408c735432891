// Ensembles with AVX-512.
#include "../ensemble_parts.h"
#include "lanes.h"

const bsbn::EnsembleKernels bsbn::ensemble_avx512 = {
    BSBN_AVX512,
    lay_out<WideLanes>,
    run_draws<WideLanes>,
    draw_some_weights<WideLanes>,
    multiplying_bytes<WideLanes>,
    multiply_some_units<WideLanes>,
};
