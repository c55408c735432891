// Class probabilities of integer logits, row by row; see softmax64 of reference/network.py.
#include "cdf64.h"
#include "library.h"
#include "threads.h"

namespace bsbn {
namespace {

// Fewer rows than this are not worth a thread of their own: a row of ten classes takes some 200 nanoseconds.
constexpr int64_t kRowsPerThread = 2048;

void some_rows(void* context, int64_t first, int64_t last) {
  const bsbn_probabilities_args& args = *static_cast<const bsbn_probabilities_args*>(context);
  for (int64_t row = first; row < last; ++row) {
    const int64_t* const dots = args.dots + row * args.classes;
    double* const p = args.probabilities + row * args.classes;
    double largest = 0.0;
    for (int64_t c = 0; c < args.classes; ++c) {
      p[c] = args.scale[c] * static_cast<double>(dots[c]) + args.bias[c];
      largest = c == 0 || p[c] > largest ? p[c] : largest;
    }
    for (int64_t c = 0; c < args.classes; ++c) p[c] = wide_exp64(p[c] - largest);
    double total = p[0];
    for (int64_t c = 1; c < args.classes; ++c) total += p[c];
    for (int64_t c = 0; c < args.classes; ++c) p[c] /= total;
  }
}

}  // namespace
}  // namespace bsbn

int bsbn_probabilities(bsbn_probabilities_args* args) {
  using namespace bsbn;
  if (args->rows < 0 || args->classes < 1 || args->num_threads < 1) {
    return fail(BSBN_INVALID_ARGUMENT, "bsbn_probabilities: %lld rows, %lld classes, %lld threads",
                static_cast<long long>(args->rows), static_cast<long long>(args->classes),
                static_cast<long long>(args->num_threads));
  }
  const bool lacks = args->dots == nullptr || args->probabilities == nullptr;
  if (args->scale == nullptr || args->bias == nullptr || (args->rows > 0 && lacks)) {
    return fail(BSBN_INVALID_ARGUMENT, "bsbn_probabilities: a null pointer for data that is not empty");
  }
  for_row_ranges(args->rows, kRowsPerThread, args->num_threads, some_rows, args);
  return BSBN_OK;
}
