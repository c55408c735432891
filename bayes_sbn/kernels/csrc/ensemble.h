// The table of kernels that run draws of a network and of its parts, one for each instruction set.
#ifndef BSBN_ENSEMBLE_H
#define BSBN_ENSEMBLE_H

#include "activation_table.h"
#include "bsbn.h"

namespace bsbn {

// Working memory of one thread, in bytes from the start of an allocation, each part 64-byte aligned.
struct EnsembleScratch {
  int64_t weights;  // those of some blocks of 16 units
  int64_t ties;     // words of weights that the hot planes left open
  int64_t view;     // rows of numbers as the first layer reads them
  int64_t lower;    // packed rows that a layer reads, and
  int64_t upper;    // those it writes
  int64_t bytes;    // in all
};

// What is looked up of a law.
struct ActivationTables {
  const uint32_t* cells;
  const CoarseTable* coarse;
};
ActivationTables activation_tables(int64_t law);

struct EnsembleWork {
  bsbn_ensemble_args* args;
  const uint32_t* packed;  // the inputs as Rows have them, if all are +magnitude or -magnitude; else null
  int64_t magnitude;
  int64_t largest_input;
  int64_t dots_rows;  // from one draw's dots to the next
  const ActivationTables* tables;  // by layer
  EnsembleScratch scratch;
};

enum FusedKind { kDrawnSigns, kSigns, kLogits, kDots };

// One layer alone, for groups of 32 rows that share words of noise.
struct FusedWork {
  int64_t kind;
  bsbn_ensemble_layer layer;
  bsbn_ensemble_args args;  // one draw of a network that begins with the layer; of kDots it ends there
  EnsembleWork ensemble;    // its `args` are those of the groups that a thread has at once
  void* result;             // packed rows, or doubles; the dots are those of `args`
};

struct EnsembleKernels {
  int64_t isa;
  void (*lay_out)(EnsembleWork* work);  // finds the parts of the scratch memory
  // Draws first..last-1 in scratch memory of this thread.
  void (*run)(const EnsembleWork* work, uint8_t* scratch, int64_t first, int64_t last);
  int64_t parts_isa;  // of what follows
  // Draws first..last-1; scratch of 192 bytes a word of the inputs and 128 more.
  void (*draw_weights)(const bsbn_draw_weights_args* args, uint8_t* scratch, int64_t first, int64_t last);
  // Blocks first..last-1 of 16 units; scratch of so many bytes.
  int64_t (*xnor_linear_bytes)(const bsbn_xnor_linear_args* args);
  void (*xnor_linear)(const bsbn_xnor_linear_args* args, uint8_t* scratch, int64_t first, int64_t last);
  void (*lay_out_fused)(FusedWork* work);  // finds the parts of the scratch memory
  // Groups first..last-1 of rows.
  void (*fused_linear)(const FusedWork* work, uint8_t* scratch, int64_t first, int64_t last);
};

const EnsembleKernels* ensemble_kernels();  // those of the instruction set in use

extern const EnsembleKernels ensemble_portable;
extern const EnsembleKernels ensemble_avx2;
extern const EnsembleKernels ensemble_avx512;
extern const EnsembleKernels ensemble_amx;

}  // namespace bsbn

#endif  // BSBN_ENSEMBLE_H
