// Uniforms: arguments checked, instruction set chosen, blocks split over threads.
//
// Equal to bayes_sbn/kernels/reference/uniforms.py.
#include "uniforms.h"

#include "library.h"
#include "threads.h"

namespace bsbn {
namespace {

// Fewer blocks than this are not worth a thread of their own: a block takes some 20 nanoseconds.
constexpr int64_t kBlocksPerThread = 4096;

const UniformKernels* kernels() {
  switch (bsbn_isa()) {
#if defined(BSBN_HAVE_AVX512)
    case BSBN_AMX:
    case BSBN_AVX512:
      return &uniforms_avx512;
#endif
#if defined(BSBN_HAVE_AVX2)
    case BSBN_AVX2:
      return &uniforms_avx2;
#endif
    default:
      return &uniforms_portable;
  }
}

struct Work {
  const bsbn_uniforms_args* args;
  const UniformKernels* kernels;
};

void fill_range(void* context, int64_t first, int64_t last) {
  const Work* work = static_cast<const Work*>(context);
  work->kernels->fill(work->args, first, last);
}

}  // namespace
}  // namespace bsbn

int bsbn_uniforms(bsbn_uniforms_args* args) {
  using namespace bsbn;
  if (args->value_type != BSBN_FLOAT32 && args->value_type != BSBN_FLOAT64) {
    return fail(BSBN_INVALID_ARGUMENT, "bsbn_uniforms: uniforms are float32 or float64, not code %lld",
                static_cast<long long>(args->value_type));
  }
  if (args->length < 0 || args->num_threads < 1) {
    return fail(BSBN_INVALID_ARGUMENT, "bsbn_uniforms: %lld values by %lld threads",
                static_cast<long long>(args->length), static_cast<long long>(args->num_threads));
  }
  if (args->length > 0 && args->values == nullptr) {
    return fail(BSBN_INVALID_ARGUMENT, "bsbn_uniforms: a null pointer for data that is not empty");
  }
  const int64_t per_block = args->value_type == BSBN_FLOAT32 ? 64 : 32;
  Work work{args, kernels()};
  for_row_ranges((args->length + per_block - 1) / per_block, kBlocksPerThread, args->num_threads,
                 fill_range, &work);
  args->ran_isa = work.kernels->isa;
  return BSBN_OK;
}
