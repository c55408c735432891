// Packing kernels in plain C++, for every processor.
#include "../packing_rows.h"

namespace {

struct Words {
  template <class Type>
  static uint32_t pack(Type, const void* values, uint32_t* wrong) {
    return pack_scalar<Type>(values, 32, wrong);
  }

  template <class Type>
  static void unpack(Type, uint32_t word, void* values) {
    unpack_scalar<Type>(word, 32, values);
  }

  static int64_t count(const uint32_t* words, int64_t num_words) {
    int64_t total = 0;
    for (int64_t k = 0; k < num_words; ++k) total += count_scalar(words[k]);
    return total;
  }
};

}  // namespace

const bsbn::PackingKernels bsbn::packing_portable = {BSBN_PORTABLE, pack_any<Words>,
                                                     unpack_any<Words>, popcount_any<Words>};
