// Ensembles with ordinary arithmetic.
#include "../ensemble_lanes.h"
#include "../ensemble_parts.h"
#include "../fused_linear_blocks.h"

const bsbn::EnsembleKernels bsbn::ensemble_portable = {BSBN_PORTABLE, run_draws<PlainLanes>,
                                                         draw_some_weights<PlainLanes>,
                                                         multiply_some_units<PlainLanes>,
                                                         run_fused<PlainLanes>};
