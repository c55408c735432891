// The parts of a layer alone: arguments checked, work split over threads.
//
// Equal to bayes_sbn/kernels/reference/sampling.py (weights) and layers.py (products).
#include <atomic>
#include <new>

#include "ensemble.h"
#include "library.h"
#include "threads.h"

namespace bsbn {
namespace {

constexpr int64_t kLine = 64;

// Scratch memory of a thread and the work in it.
template <class Args>
struct Parts {
  const Args* args;
  void (*work)(const Args*, uint8_t*, int64_t, int64_t);
  int64_t bytes;
  std::atomic<bool> lacks_memory{false};
};

template <class Args>
void some_parts(void* context, int64_t first, int64_t last) {
  Parts<Args>* const parts = static_cast<Parts<Args>*>(context);
  const std::size_t bytes = static_cast<std::size_t>(parts->bytes);
  void* const memory = ::operator new(bytes, std::align_val_t{kLine}, std::nothrow);
  if (memory == nullptr) {
    parts->lacks_memory = true;
    return;
  }
  parts->work(parts->args, static_cast<uint8_t*>(memory), first, last);
  ::operator delete(memory, std::align_val_t{kLine});
}

template <class Args>
int run_parts(const char* name, Parts<Args>* parts, int64_t number, int64_t num_threads) {
  for_row_ranges(number, 1, num_threads, some_parts<Args>, parts);
  if (!parts->lacks_memory) return BSBN_OK;
  return fail(BSBN_OUT_OF_MEMORY, "%s: no memory for %lld bytes a thread", name,
              static_cast<long long>(parts->bytes));
}

}  // namespace
}  // namespace bsbn

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
