// What is made of inputs and laws before the draws of a layer run; defined in ensemble.cpp.
#ifndef BSBN_ENSEMBLE_INPUTS_H
#define BSBN_ENSEMBLE_INPUTS_H

#include <vector>

#include "bsbn.h"

namespace bsbn {

// The table of a law (activation_table.h), made when it is first asked for.
const uint32_t* table_of(int64_t law);

// Whether all inputs are +magnitude or -magnitude, and if so their signs as packed rows; and the
// largest magnitude of an input.
bool pack_inputs(const bsbn_ensemble_args& args, std::vector<uint32_t>* packed, int64_t* magnitude,
                 int64_t* largest);

}  // namespace bsbn

#endif  // BSBN_ENSEMBLE_INPUTS_H
