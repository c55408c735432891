// Work on independent rows, split over threads; see threads.h.
#include "threads.h"

#include <algorithm>
#include <cstddef>
#include <exception>
#include <thread>
#include <vector>

namespace bsbn {

void for_row_ranges(int64_t rows, int64_t min_rows, int64_t num_threads, RowWork work,
                    void* context) {
  const int64_t most = std::max<int64_t>(1, rows / std::max<int64_t>(1, min_rows));
  const int64_t parts = std::min(num_threads, most);
  std::vector<std::thread> threads;
  int64_t first = 0;
  try {
    threads.reserve(static_cast<std::size_t>(parts));
    for (int64_t part = 0; part + 1 < parts; ++part) {
      const int64_t last = rows / parts * (part + 1) + std::min(rows % parts, part + 1);
      threads.emplace_back(work, context, first, last);
      first = last;
    }
  } catch (const std::exception&) {
    // No more threads or no more memory to be had: this thread does the rows that are left.
  }
  work(context, first, rows);
  for (std::thread& thread : threads) thread.join();
}

}  // namespace bsbn
