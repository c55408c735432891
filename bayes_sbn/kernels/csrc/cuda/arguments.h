// What the kernels are launched with: structs of pointers into device memory and 64-bit integers.
//
// bayes_sbn/kernels/cuda/ensemble.py has the same structs.  Rows of packed bits are padded with zeros
// to whole chunks of 8 words.
#ifndef BSBN_CUDA_ARGUMENTS_H
#define BSBN_CUDA_ARGUMENTS_H

#include <cstdint>

// A noise that all rows share: +1 where (v <= bound) differs from `flips`.
struct Bound {
  int32_t bound;
  uint32_t flips;
};

// A layer in some draws of a network, for some rows.  What a unit sees of a row is an integer v: the
// number of mismatches of +-1 values, dot = magnitude (inputs - 2 v), or the dot of numbers itself.
struct CudaLayer {
  const uint32_t* rows;   // read: bits, (1 or draws, planes, num_rows, row_words)
  const uint32_t* hot;    // the planes of bsbn_ensemble_layer, or null
  const uint32_t* cold;
  const uint32_t* words;  // packed weights, (draws, units, words of a unit), in place of planes; or null
  const double* scale;    // (1 or draws, units)
  const double* bias;
  const int64_t* draws;   // indices of the draws
  const uint32_t* table;  // of activation_table.h; null for the logistic law
  Bound* bounds;          // (draws, units), if all rows share the noise
  uint32_t* activations;  // written by hidden layers: bits, (draws, num_rows, activation_words)
  int64_t* dots;          // written by the last layer: (draws, num_rows, units)
  int64_t num_draws;
  int64_t rows_stride;   // words from the rows of a draw to those of the next; 0 if all see the same
  int64_t units_stride;  // the same of scale and bias
  int64_t planes;        // 1 of +-1 values; of numbers, bits of a number, the highest that of its sign
  int64_t is_number;     // whether the rows are numbers
  int64_t num_rows;
  int64_t row_words;
  int64_t activation_words;
  int64_t units;
  int64_t inputs;
  int64_t magnitude;  // of the +-1 values
  int64_t largest;    // bound on the magnitude of a number
  int64_t site;
  int64_t law;
  int64_t first_row;  // index of the first row
  int64_t key0;
  int64_t key1;
  double noise_scale;
};

// The inputs of the first layer as bits.
struct CudaInputs {
  const int16_t* inputs;  // (num_rows, length)
  uint32_t* rows;         // written: (planes, num_rows, row_words)
  int64_t planes;
  int64_t is_number;
  int64_t num_rows;
  int64_t length;
  int64_t row_words;
};

struct CudaTable {
  uint32_t* table;  // written: of activation_table.h
  int64_t law;
};

#endif  // BSBN_CUDA_ARGUMENTS_H
