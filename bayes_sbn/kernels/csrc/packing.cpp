// pack, unpack and popcount: arguments checked, instruction set chosen, rows split over threads.
//
// Equal to bayes_sbn/kernels/reference/packing.py.
#include "packing.h"

#include <algorithm>
#include <atomic>

#include "library.h"
#include "threads.h"

namespace bsbn {
namespace {

// Fewer values than this are not worth a thread of their own: starting one takes 10 to 20
// microseconds, and the vector kernels take 0.02 to 0.1 nanoseconds a value.
constexpr int64_t kValuesPerThread = int64_t{1} << 21;

const PackingKernels* kernels() {
  switch (bsbn_isa()) {
#if defined(BSBN_HAVE_AVX512)
    case BSBN_AMX:
    case BSBN_AVX512:
      return &packing_avx512;
#endif
#if defined(BSBN_HAVE_AVX2)
    case BSBN_AVX2:
      return &packing_avx2;
#endif
    default:
      return &packing_portable;
  }
}

int64_t min_rows(int64_t length) { return kValuesPerThread / std::max<int64_t>(1, length) + 1; }

int check(const char* call, const void* source, const void* target, int64_t rows, int64_t length,
          int64_t num_threads, bool target_is_per_row) {
  if (rows < 0 || length < 0) {
    return fail(BSBN_INVALID_ARGUMENT, "%s: %lld rows of length %lld; neither may be negative", call,
                static_cast<long long>(rows), static_cast<long long>(length));
  }
  if (num_threads < 1) {
    return fail(BSBN_INVALID_ARGUMENT, "%s: num_threads is %lld; at least 1 is needed", call,
                static_cast<long long>(num_threads));
  }
  const bool reads = rows > 0 && length > 0;
  const bool writes = rows > 0 && (length > 0 || target_is_per_row);
  if ((reads && source == nullptr) || (writes && target == nullptr)) {
    return fail(BSBN_INVALID_ARGUMENT, "%s: a null pointer for data that is not empty", call);
  }
  return BSBN_OK;
}

int check_value_type(const char* call, int64_t value_type) {
  if (value_type < BSBN_FLOAT32 || value_type > BSBN_BOOL) {
    return fail(BSBN_INVALID_ARGUMENT, "%s: no type of values has the code %lld", call,
                static_cast<long long>(value_type));
  }
  return BSBN_OK;
}

struct PackWork {
  const bsbn_pack_args* args;
  const PackingKernels* kernels;
  std::atomic<int64_t> bad_index;
};

void pack_rows(void* context, int64_t first, int64_t last) {
  PackWork* work = static_cast<PackWork*>(context);
  const int64_t bad_index = work->kernels->pack(work->args, first, last);
  if (bad_index >= 0) work->bad_index.store(bad_index, std::memory_order_relaxed);
}

struct UnpackWork {
  const bsbn_unpack_args* args;
  const PackingKernels* kernels;
};

void unpack_rows(void* context, int64_t first, int64_t last) {
  const UnpackWork* work = static_cast<const UnpackWork*>(context);
  work->kernels->unpack(work->args, first, last);
}

struct PopcountWork {
  const bsbn_popcount_args* args;
  const PackingKernels* kernels;
};

void popcount_rows(void* context, int64_t first, int64_t last) {
  const PopcountWork* work = static_cast<const PopcountWork*>(context);
  work->kernels->popcount(work->args, first, last);
}

}  // namespace
}  // namespace bsbn

int bsbn_pack(bsbn_pack_args* args) {
  using namespace bsbn;
  int status = check("bsbn_pack", args->values, args->words, args->rows, args->length,
                     args->num_threads, false);
  if (status == BSBN_OK) status = check_value_type("bsbn_pack", args->value_type);
  if (status != BSBN_OK) return status;
  PackWork work{args, kernels(), {-1}};
  for_row_ranges(args->rows, min_rows(args->length), args->num_threads, pack_rows, &work);
  args->ran_isa = work.kernels->isa;
  args->bad_index = work.bad_index.load(std::memory_order_relaxed);
  if (args->bad_index >= 0) {
    return fail(BSBN_NOT_A_SIGN, "bsbn_pack: value %lld is neither -1 nor +1",
                static_cast<long long>(args->bad_index));
  }
  return BSBN_OK;
}

int bsbn_unpack(bsbn_unpack_args* args) {
  using namespace bsbn;
  int status = check("bsbn_unpack", args->words, args->values, args->rows, args->length,
                     args->num_threads, false);
  if (status == BSBN_OK) status = check_value_type("bsbn_unpack", args->value_type);
  if (status != BSBN_OK) return status;
  UnpackWork work{args, kernels()};
  for_row_ranges(args->rows, min_rows(args->length), args->num_threads, unpack_rows, &work);
  args->ran_isa = work.kernels->isa;
  return BSBN_OK;
}

int bsbn_popcount(bsbn_popcount_args* args) {
  using namespace bsbn;
  const int status = check("bsbn_popcount", args->words, args->counts, args->rows, args->length,
                           args->num_threads, true);
  if (status != BSBN_OK) return status;
  PopcountWork work{args, kernels()};
  // A word is read and counted in about the time of one value, so a thread needs 32 times as many.
  for_row_ranges(args->rows, min_rows(args->length / 32), args->num_threads, popcount_rows, &work);
  args->ran_isa = work.kernels->isa;
  return BSBN_OK;
}
