// What the operations share: how an error is left for bsbn_last_error().
//
// Which instruction set runs is asked through bsbn_isa(); an operation keeps one table of function
// pointers per instruction set and indexes it with that code.
#ifndef BSBN_LIBRARY_H
#define BSBN_LIBRARY_H

#include "bsbn.h"

namespace bsbn {

// Remembers the message for this thread and returns the status, so that an operation may write
// `return fail(BSBN_INVALID_ARGUMENT, "bsbn_pack: rows is %lld", rows);`
__attribute__((format(printf, 2, 3))) int fail(int status, const char* format, ...);

}  // namespace bsbn

#endif  // BSBN_LIBRARY_H
