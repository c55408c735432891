// Work on independent parts, split over threads, each with scratch memory of its own.
//
// The anonymous namespace gives every file its own copy.
#ifndef BSBN_THREADS_SCRATCH_H
#define BSBN_THREADS_SCRATCH_H

#include <atomic>
#include <new>

#include "library.h"
#include "threads.h"

namespace bsbn {
namespace {

constexpr int64_t kLine = 64;  // bytes to which memory is aligned

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
int run_parts(const char* name, Parts<Args>* parts, int64_t number, int64_t num_threads,
              int64_t least_parts = 1) {
  for_row_ranges(number, least_parts, num_threads, some_parts<Args>, parts);
  if (!parts->lacks_memory) return BSBN_OK;
  return fail(BSBN_OUT_OF_MEMORY, "%s: no memory for %lld bytes a thread", name,
              static_cast<long long>(parts->bytes));
}

}  // namespace
}  // namespace bsbn

#endif  // BSBN_THREADS_SCRATCH_H
