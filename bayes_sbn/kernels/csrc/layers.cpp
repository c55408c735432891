// The parts of a layer alone: arguments checked, work split over threads.
//
// Equal to bayes_sbn/kernels/reference/sampling.py (weights) and layers.py (products).
#include "ensemble.h"
#include "library.h"
#include "threads_scratch.h"

int bsbn_draw_weights(bsbn_draw_weights_args* args) {
  using namespace bsbn;
  if (args->num_draws < 0 || args->units < 1 || args->inputs < 1 || args->site < 0 ||
      args->site > 0xFFFF || args->num_threads < 1) {
    return fail(BSBN_INVALID_ARGUMENT,
                "bsbn_draw_weights: %lld draws of %lld units with %lld inputs at site %lld by %lld threads",
                static_cast<long long>(args->num_draws), static_cast<long long>(args->units),
                static_cast<long long>(args->inputs), static_cast<long long>(args->site),
                static_cast<long long>(args->num_threads));
  }
  const bool lacks = args->draws == nullptr || args->words == nullptr;
  if (args->hot == nullptr || args->cold == nullptr || (args->num_draws > 0 && lacks)) {
    return fail(BSBN_INVALID_ARGUMENT, "bsbn_draw_weights: a null pointer for data that is not empty");
  }
  for (int64_t i = 0; i < args->num_draws; ++i) {
    if (args->draws[i] < 0 || args->draws[i] > 0xFFFFFFFF) {
      return fail(BSBN_INVALID_ARGUMENT, "bsbn_draw_weights: draw %lld",
                  static_cast<long long>(args->draws[i]));
    }
  }
  const EnsembleKernels* const kernels = ensemble_kernels();
  args->ran_isa = kernels->parts_isa;
  const int64_t words = (args->inputs + 31) / 32;
  Parts<bsbn_draw_weights_args> parts{args, kernels->draw_weights, 192 * words + 2 * kLine, {}};
  return run_parts("bsbn_draw_weights", &parts, args->num_draws, args->num_threads);
}

int bsbn_xnor_linear(bsbn_xnor_linear_args* args) {
  using namespace bsbn;
  if (args->num_rows < 0 || args->units < 0 || args->length < 0 || args->length > 0x7FFFFFFF ||
      args->num_threads < 1) {
    return fail(BSBN_INVALID_ARGUMENT, "bsbn_xnor_linear: %lld rows, %lld units, length %lld, %lld threads",
                static_cast<long long>(args->num_rows), static_cast<long long>(args->units),
                static_cast<long long>(args->length), static_cast<long long>(args->num_threads));
  }
  const EnsembleKernels* const kernels = ensemble_kernels();
  args->ran_isa = kernels->parts_isa;
  if (args->num_rows == 0 || args->units == 0) return BSBN_OK;
  const bool lacks = args->length > 0 && (args->rows == nullptr || args->weights == nullptr);
  if (args->dots == nullptr || lacks) {
    return fail(BSBN_INVALID_ARGUMENT, "bsbn_xnor_linear: a null pointer for data that is not empty");
  }
  const int64_t blocks = (args->units + 15) / 16;
  Parts<bsbn_xnor_linear_args> parts{args, kernels->xnor_linear, kernels->xnor_linear_bytes(args), {}};
  return run_parts("bsbn_xnor_linear", &parts, blocks, args->num_threads);
}
