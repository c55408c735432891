// Running a grid of blocks whose threads are fibers.
#ifndef BLOCKS_H
#define BLOCKS_H

#include <functional>

#include "device_words.h"

// Runs `kernel` in every thread of every block.  `order` is 0 if threads are begun and resumed from the
// first on, 1 from the last on, and else a seed of changing orders; it must not matter.  Returns nullptr or what went wrong.
const char* run_grid(Dim grid, Dim block, int order, const std::function<void()>& kernel);

#endif  // BLOCKS_H
