// What is made of 16-bit inputs before draws see them; defined in ensemble.cpp.
#ifndef BSBN_ENSEMBLE_INPUTS_H
#define BSBN_ENSEMBLE_INPUTS_H

#include <vector>

#include "bsbn.h"

namespace bsbn {

// Whether all inputs are +magnitude or -magnitude, and if so their signs as packed rows in groups of 32;
// and the largest magnitude of an input.
bool pack_inputs(const bsbn_ensemble_args& args, std::vector<uint32_t>* packed, int64_t* magnitude,
                 int64_t* largest);

}  // namespace bsbn

#endif  // BSBN_ENSEMBLE_INPUTS_H
