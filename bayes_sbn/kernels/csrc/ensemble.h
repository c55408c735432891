// The table of kernels that run draws of a network and of its parts, one for each instruction set.
#ifndef BSBN_ENSEMBLE_H
#define BSBN_ENSEMBLE_H

#include "bsbn.h"

namespace bsbn {

// Working memory of one thread, in bytes from the start of an allocation, each part 64-byte aligned.
struct EnsembleScratch {
  int64_t weights;  // the packed weights of a block of 16 units: 64 bytes a word of the inputs
  int64_t ties;     // weights that the hot planes left open: 8 bytes for each 4 of `weights`
  int64_t lower;    // packed rows that a layer reads, and
  int64_t upper;    // those it writes: row_bytes each row
  int64_t row_bytes;
  int64_t bytes;  // in all
};

struct EnsembleWork {
  bsbn_ensemble_args* args;
  const uint32_t* packed;  // the inputs, (rows, words), if all are +magnitude or -magnitude; else null
  int64_t magnitude;
  int64_t largest_input;
  const uint32_t* const* tables;  // by layer, of laws that are looked up (activation_table.h)
  EnsembleScratch scratch;
};

enum FusedKind { kDrawnSigns, kSigns, kLogits, kDots };

// One layer alone.  Its rows are cut into slices, and its units into blocks of 16: part
// slice * blocks + block is one block of units for one slice of rows.
struct FusedWork {
  int64_t kind;
  bsbn_ensemble_layer layer;
  bsbn_ensemble_args args;  // of a draw at which the layer stands first; `dots` are those of kDots
  EnsembleWork ensemble;    // its `args` are those of a slice
  void* result;             // of the other kinds: words of packed rows, or doubles
  int64_t rows_of_slice;
};

struct EnsembleKernels {
  int64_t isa;
  // Draws first..last-1 in scratch memory of this thread.
  void (*run)(const EnsembleWork* work, uint8_t* scratch, int64_t first, int64_t last);
  // Draws first..last-1; scratch of 192 bytes a word of the inputs and 128 more.
  void (*draw_weights)(const bsbn_draw_weights_args* args, uint8_t* scratch, int64_t first, int64_t last);
  // Blocks first..last-1 of 16 units; scratch of 64 bytes a word.
  void (*xnor_linear)(const bsbn_xnor_linear_args* args, uint8_t* scratch, int64_t first, int64_t last);
  // Parts first..last-1 of a layer; scratch as `ensemble` says.
  void (*fused_linear)(const FusedWork* work, uint8_t* scratch, int64_t first, int64_t last);
};

const EnsembleKernels* ensemble_kernels();  // those of the instruction set in use

extern const EnsembleKernels ensemble_portable;
extern const EnsembleKernels ensemble_avx2;
extern const EnsembleKernels ensemble_avx512;

}  // namespace bsbn

#endif  // BSBN_ENSEMBLE_H
