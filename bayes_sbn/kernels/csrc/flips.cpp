// bsbn_flip_sums: arguments checked, instruction set chosen, columns split over threads.
//
// Equal to bayes_sbn/kernels/reference/flips.py up to rounding.
#include "flips.h"

#include "library.h"
#include "threads.h"

namespace bsbn {
namespace {

// A flip takes 0.03 to 0.5 nanoseconds, and starting a thread 10 to 20 microseconds.
constexpr int64_t kFlipsPerThread = int64_t{1} << 20;

const FlipKernels* kernels() {
  switch (bsbn_isa()) {
#if defined(BSBN_HAVE_AVX512)
    case BSBN_AMX:
    case BSBN_AVX512:
      return &flips_avx512;
#endif
#if defined(BSBN_HAVE_AVX2)
    case BSBN_AVX2:
      return &flips_avx2;
#endif
    default:
      return &flips_portable;
  }
}

struct FlipWork {
  const bsbn_flip_sums_args* args;
  const FlipKernels* kernels;
};

void sum_groups(void* context, int64_t first, int64_t last) {
  const FlipWork* work = static_cast<const FlipWork*>(context);
  work->kernels->sums(work->args, first, last);
}

int check(const bsbn_flip_sums_args* args) {
  if (args->value_type != BSBN_FLOAT32 && args->value_type != BSBN_FLOAT64) {
    return fail(BSBN_INVALID_ARGUMENT, "bsbn_flip_sums: no type of numbers has the code %lld",
                static_cast<long long>(args->value_type));
  }
  if (args->law < 0 || args->law >= BSBN_NUM_FLIP_LAWS) {
    return fail(BSBN_INVALID_ARGUMENT, "bsbn_flip_sums: no law has the code %lld",
                static_cast<long long>(args->law));
  }
  if (args->batch < 0 || args->rows < 0 || args->terms < 0 || args->columns < 0) {
    return fail(BSBN_INVALID_ARGUMENT, "bsbn_flip_sums: a size is negative");
  }
  if (args->step_batch != 1 && args->step_batch != args->batch) {
    return fail(BSBN_INVALID_ARGUMENT,
                "bsbn_flip_sums: %lld matrices of steps for a batch of %lld; 1 or as many are needed",
                static_cast<long long>(args->step_batch), static_cast<long long>(args->batch));
  }
  if (args->num_threads < 1) {
    return fail(BSBN_INVALID_ARGUMENT, "bsbn_flip_sums: num_threads is %lld; at least 1 is needed",
                static_cast<long long>(args->num_threads));
  }
  const bool writes = args->batch > 0 && args->rows > 0 && args->columns > 0;
  const bool reads = writes && args->terms > 0;
  if ((writes && (args->signs == nullptr || args->sums == nullptr)) ||
      (reads && (args->steps == nullptr || args->left == nullptr || args->right == nullptr ||
                 args->gain == nullptr || args->scale == nullptr))) {
    return fail(BSBN_INVALID_ARGUMENT, "bsbn_flip_sums: a null pointer for data that is not empty");
  }
  return BSBN_OK;
}

}  // namespace
}  // namespace bsbn

int bsbn_flip_sums(bsbn_flip_sums_args* args) {
  using namespace bsbn;
  const int status = check(args);
  if (status != BSBN_OK) return status;
  FlipWork work{args, kernels()};
  const int64_t groups = (args->columns + kFlipColumns - 1) / kFlipColumns * args->batch;
  const int64_t flips_per_group = args->rows * args->terms * kFlipColumns;
  const int64_t min_groups = flips_per_group < kFlipsPerThread
                                 ? kFlipsPerThread / (flips_per_group + 1) + 1
                                 : 1;
  if (args->rows > 0) {
    for_row_ranges(groups, min_groups, args->num_threads, sum_groups, &work);
  }
  args->ran_isa = work.kernels->isa;
  return BSBN_OK;
}
