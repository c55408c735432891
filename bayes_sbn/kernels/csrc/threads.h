// Work on independent rows, split over threads.
//
// Threads are started per call and joined before it returns: nothing outlives a call, so a fork is
// harmless, and no second OpenMP runtime meets the one that torch brings along.
#ifndef BSBN_THREADS_H
#define BSBN_THREADS_H

#include <cstdint>

namespace bsbn {

// Does rows first..last-1 of the operation described by `context`.
typedef void (*RowWork)(void* context, int64_t first, int64_t last);

// Covers 0..rows-1 by at most `num_threads` contiguous ranges, each of at least `min_rows` rows.
void for_row_ranges(int64_t rows, int64_t min_rows, int64_t num_threads, RowWork work, void* context);

}  // namespace bsbn

#endif  // BSBN_THREADS_H
