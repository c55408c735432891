// bsbn_xnor_conv2d: arguments checked, instruction set chosen, maps and units split over threads.
//
// Equal to bayes_sbn/kernels/reference/convolutions.py.
#include "convolutions.h"

#include "threads_scratch.h"
#include "windows_checks.h"

namespace bsbn {
namespace {

constexpr int64_t kLeastOfThread = 1 << 15;  // words that blocks see before threads pay
constexpr int64_t kCachedBytes = 1 << 19;

const ConvolutionKernels* kernels() {
  switch (bsbn_isa()) {
#if defined(BSBN_HAVE_AVX512)
    case BSBN_AMX:
    case BSBN_AVX512:
      return &convolutions_avx512;
#endif
#if defined(BSBN_HAVE_AVX2)
    case BSBN_AVX2:
      return &convolutions_avx2;
#endif
    default:
      return &convolutions_portable;
  }
}

int check(const bsbn_xnor_conv2d_args* args) {
  const char* const name = "bsbn_xnor_conv2d";
  const int status = check_windows(name, args->maps, args->window, args->num_threads);
  if (status != BSBN_OK) return status;
  const int64_t channels = args->maps.channels;
  if (args->units < 0 || args->groups < 1 || args->units % args->groups != 0 || channels % args->groups != 0) {
    return fail(BSBN_INVALID_ARGUMENT, "%s: %lld groups of %lld channels and %lld units", name,
                static_cast<long long>(args->groups), static_cast<long long>(channels),
                static_cast<long long>(args->units));
  }
  if (channels / args->groups > 0x7FFFFFFF / args->window.height / args->window.width) {
    return fail(BSBN_INVALID_ARGUMENT, "%s: kernels of %lld x %lld x %lld weights, whose sums have 32 bits", name,
                static_cast<long long>(args->window.height), static_cast<long long>(args->window.width),
                static_cast<long long>(channels / args->groups));
  }
  const bool lacks = args->maps.words == nullptr || args->weights == nullptr || args->dots == nullptr;
  return check_data(name, args->maps.batch == 0 || args->units == 0, lacks);
}

}  // namespace
}  // namespace bsbn

int bsbn_xnor_conv2d(bsbn_xnor_conv2d_args* args) {
  using namespace bsbn;
  const int status = check(args);
  if (status != BSBN_OK) return status;
  args->ran_isa = kernels()->isa;
  if (args->maps.batch == 0 || args->units == 0) return BSBN_OK;
  const bsbn_window& window = args->window;
  ConvolutionWork work{};
  work.args = args;
  work.words = window.height * window.width * ((args->maps.channels / args->groups + 31) / 32);
  work.blocks_of_group = (args->units / args->groups + kUnitsOfBlock - 1) / kUnitsOfBlock;
  const int64_t block_bytes = work.words * 4 * kUnitsOfBlock;
  const int64_t cached = kCachedBytes / block_bytes < 1 ? 1 : kCachedBytes / block_bytes;
  work.blocks_at_once = cached < work.blocks_of_group ? cached : work.blocks_of_group;
  work.weight_bytes = work.blocks_at_once * block_bytes;
  work.row_bytes = kGathered * 4 * work.words;
  const int64_t words = window.out_height * window.out_width * work.words;  // of a part
  Parts<ConvolutionWork> parts{&work, kernels()->convolve, work.weight_bytes + work.row_bytes, {}};
  return run_parts("bsbn_xnor_conv2d", &parts, args->maps.batch * args->groups * work.blocks_of_group,
                   args->num_threads, words < kLeastOfThread ? kLeastOfThread / (words + 1) + 1 : 1);
}
