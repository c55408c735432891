// bsbn_max_pool2d, bsbn_sum_pool2d: arguments checked, instruction set chosen, rows split over threads.
//
// Equal to bayes_sbn/kernels/reference/pooling.py.
#include "pooling.h"

#include "threads.h"
#include "windows_checks.h"

namespace bsbn {
namespace {

constexpr int64_t kLeastOfThread = 1 << 15;  // words of windows before threads pay
constexpr int64_t kMostCells = 0x7FFF;

const PoolingKernels* kernels() {
  switch (bsbn_isa()) {
#if defined(BSBN_HAVE_AVX512)
    case BSBN_AMX:
    case BSBN_AVX512:
      return &pooling_avx512;
#endif
#if defined(BSBN_HAVE_AVX2)
    case BSBN_AVX2:
      return &pooling_avx2;
#endif
    default:
      return &pooling_portable;
  }
}

template <class Args>
struct PoolingWork {
  const Args* args;
  void (*rows)(const Args*, int64_t, int64_t);
};

template <class Args>
void some_rows(void* context, int64_t first, int64_t last) {
  const PoolingWork<Args>* const work = static_cast<PoolingWork<Args>*>(context);
  work->rows(work->args, first, last);
}

template <class Args>
int run(const char* name, Args* args, const void* result, void (*rows)(const Args*, int64_t, int64_t)) {
  const bsbn_maps& maps = args->maps;
  const bsbn_window& window = args->window;
  int status = check_windows(name, maps, window, args->num_threads);
  if (status == BSBN_OK) status = check_data(name, maps.batch == 0, maps.words == nullptr || result == nullptr);
  if (status != BSBN_OK) return status;
  args->ran_isa = kernels()->isa;
  const int64_t words = window.out_width * window.height * window.width * ((maps.channels + 31) / 32);
  PoolingWork<Args> work{args, rows};
  if (maps.batch > 0) {
    for_row_ranges(maps.batch * window.out_height, kLeastOfThread / words + 1, args->num_threads, some_rows<Args>,
                   &work);
  }
  return BSBN_OK;
}

}  // namespace
}  // namespace bsbn

int bsbn_max_pool2d(bsbn_max_pool2d_args* args) {
  using namespace bsbn;
  return run("bsbn_max_pool2d", args, args->words, kernels()->largest);
}

int bsbn_sum_pool2d(bsbn_sum_pool2d_args* args) {
  using namespace bsbn;
  const bsbn_window& window = args->window;
  if (window.height > 0 && window.width > 0 && window.height > kMostCells / window.width) {
    return fail(BSBN_INVALID_ARGUMENT, "bsbn_sum_pool2d: windows of %lld x %lld cells, whose sums have 16 bits",
                static_cast<long long>(window.height), static_cast<long long>(window.width));
  }
  return run("bsbn_sum_pool2d", args, args->sums, kernels()->sums);
}
