// Ensembles with ordinary arithmetic.
#include "../ensemble_lanes.h"

const bsbn::EnsembleKernels bsbn::ensemble_portable = {BSBN_PORTABLE, run_draws<PlainLanes>};
