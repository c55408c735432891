// The table of packing kernels: pack, unpack, popcount; one for each instruction set.
//
// Each kernel does rows first..last-1.  pack returns the flat index of the first value of these rows
// that is no sign, or -1; the words of its row and of the rows after it are then undefined.
#ifndef BSBN_PACKING_H
#define BSBN_PACKING_H

#include "bsbn.h"

namespace bsbn {

struct PackingKernels {
  int64_t isa;
  int64_t (*pack)(const bsbn_pack_args* args, int64_t first, int64_t last);
  void (*unpack)(const bsbn_unpack_args* args, int64_t first, int64_t last);
  void (*popcount)(const bsbn_popcount_args* args, int64_t first, int64_t last);
};

extern const PackingKernels packing_portable;
extern const PackingKernels packing_avx2;
extern const PackingKernels packing_avx512;

}  // namespace bsbn

#endif  // BSBN_PACKING_H
