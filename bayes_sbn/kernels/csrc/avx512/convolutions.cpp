// Convolutions with AVX-512.
#include "../convolutions_blocks.h"
#include "products.h"

namespace {

struct WideCopy {
  static void words(const uint32_t* source, int64_t number, uint32_t* target) {
    for (; number > 0; number -= 16, source += 16, target += 16) {
      const __mmask16 there = static_cast<__mmask16>(number >= 16 ? 0xFFFFu : (1u << number) - 1);
      _mm512_mask_storeu_epi32(target, there, _mm512_maskz_loadu_epi32(there, source));
    }
  }
};

}  // namespace

const bsbn::ConvolutionKernels bsbn::convolutions_avx512 = {BSBN_AVX512, convolve_some<WideProducts, WideCopy>};
