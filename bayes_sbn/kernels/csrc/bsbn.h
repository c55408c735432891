/* The C ABI of the bayes_sbn kernel library: everything the Python side may call.  In one file, though
 * long, since one number is the version of all of it.
 *
 * Every operation takes one pointer to a plain struct of pointers and 64-bit integers and returns a
 * status; bsbn_last_error() then says in words what was wrong.  Packed bits and counts are the same
 * for every instruction set and every number of threads, and equal to bayes_sbn/kernels/reference/;
 * sums of numbers are equal up to rounding.
 *
 * Convention of packed signs: bit 1 is +1, bit 0 is -1; value i of a row is bit (i & 31) of its word
 * i >> 5; a row of `length` values has (length + 31) / 32 words, whose padding bits are written as 0
 * and never read.  Rows follow each other without gaps.
 */
#ifndef BSBN_H
#define BSBN_H

#include <stdint.h>

#if defined(_WIN32)
#define BSBN_API __declspec(dllexport)
#elif defined(__CUDACC_RTC__) /* NVRTC allows no functions of the host */
#define BSBN_API __device__
#else
#define BSBN_API __attribute__((visibility("default")))
#endif

/* Raised by one whenever a struct or a function below changes; the loader refuses another number. */
#define BSBN_ABI_VERSION 7

#ifdef __cplusplus
extern "C" {
#endif

enum bsbn_status {
  BSBN_OK = 0,
  BSBN_INVALID_ARGUMENT = 1, /* a null pointer, a negative size, an unknown code */
  BSBN_NOT_A_SIGN = 2,       /* a value to be packed is neither -1 nor +1 */
  BSBN_UNAVAILABLE = 3,      /* this build or this processor lacks the instruction set */
  BSBN_OUT_OF_MEMORY = 4,
  BSBN_SUMS_TOO_LARGE = 5, /* sums of 16-bit inputs may leave 32 bits */
  BSBN_NOT_FINITE = 6      /* a scale or a bias of a layer alone is not a finite number */
};

enum bsbn_isa_code { BSBN_PORTABLE = 0, BSBN_AVX2 = 1, BSBN_AVX512 = 2, BSBN_AMX = 3, BSBN_NUM_ISAS = 4 };

enum bsbn_value_type { BSBN_FLOAT32 = 0, BSBN_FLOAT64 = 1, BSBN_INT8 = 2, BSBN_BOOL = 3 };

/* ---- library.cpp ------------------------------------------------------------------------------ */

BSBN_API int64_t bsbn_abi_version(void);

/* What the last failing call of this thread complained about; "" before the first. */
BSBN_API const char* bsbn_last_error(void);

/* The instruction set in use: at the start the widest that build and processor share. */
BSBN_API int64_t bsbn_isa(void);
BSBN_API int64_t bsbn_isa_is_available(int64_t isa);
/* Changes it for the whole process, for calls that start afterwards. */
BSBN_API int bsbn_set_isa(int64_t isa);

/* ---- packing.cpp ------------------------------------------------------------------------------ */

/* Words of +-1 values.  For bool, nonzero is +1; a bool is never refused. */
struct bsbn_pack_args {
  const void* values;
  int32_t* words;
  int64_t value_type;
  int64_t rows;
  int64_t length;
  int64_t num_threads;
  int64_t ran_isa;   /* out: the instruction set of the code that did the work; AMX has ensembles of its
                        own, and the rest is AVX512 */
  int64_t bad_index; /* out: flat index of a value that is no sign, -1 if there is none */
};
BSBN_API int bsbn_pack(struct bsbn_pack_args* args);

/* +-1 values of words; for bool, +1 is true. */
struct bsbn_unpack_args {
  const int32_t* words;
  void* values;
  int64_t value_type;
  int64_t rows;
  int64_t length;
  int64_t num_threads;
  int64_t ran_isa; /* out */
};
BSBN_API int bsbn_unpack(struct bsbn_unpack_args* args);

/* How many values of each row are +1. */
struct bsbn_popcount_args {
  const int32_t* words;
  int64_t* counts;
  int64_t rows;
  int64_t length;
  int64_t num_threads;
  int64_t ran_isa; /* out */
};
BSBN_API int bsbn_popcount(struct bsbn_popcount_args* args);

/* ---- flips.cpp -------------------------------------------------------------------------------- */

enum bsbn_flip_law {
  BSBN_LOGISTIC = 0, /* scale is not used: 1 */
  BSBN_SCALED_LOGISTIC = 1,
  BSBN_GAUSSIAN = 2,
  BSBN_LAPLACE = 3,
  BSBN_UNIFORM = 4,
  BSBN_TRIANGULAR = 5,
  BSBN_NUM_FLIP_LAWS = 6
};

/* Sums of exact flips.  A pre-activation a[r][k] contains the term s[r] c[k][i] x[r][i] with x in
 * {-1, +1}; F is the cdf of a law, and
 *
 *     sums[r][i] = sum_k g[r][k] (F(a[r][k] | x = +1) - F(a[r][k] | x = -1)).
 *
 * Of the logistic law a term is, with y = sign(x s c),
 *
 *     x y g F'(a) / (1 / (exp(2 |s c|) - 1) + F(-y a)),
 *
 * in which nothing cancels.  What depends on two of the three indices is given:
 *
 *     law                steps                       left     right       gain
 *     LOGISTIC           sign(c) / (exp(2|c|) - 1)   F(-a)    F(a)        g F'(a)
 *     SCALED_LOGISTIC    c                           F(-a)    F(a)        g F'(a)
 *     others             c                           a        F(a) - 1/2  g
 *
 * Steps are finite; of the LOGISTIC law, none is 0.  The matrices are row-major and follow each other
 * in the batch. */
struct bsbn_flip_sums_args {
  const void* steps; /* (step_batch, terms, columns) */
  const void* left;  /* (batch, rows, terms) */
  const void* right;
  const void* gain;
  const void* scale; /* s: (batch, rows) */
  const void* signs; /* x: (batch, rows, columns) */
  void* sums;        /* of the shape of x */
  int64_t law;
  int64_t value_type; /* BSBN_FLOAT32 or BSBN_FLOAT64 */
  int64_t batch;
  int64_t step_batch; /* 1, if all places share the steps, or batch */
  int64_t rows;
  int64_t terms;
  int64_t columns;
  int64_t num_threads;
  int64_t ran_isa; /* out */
};
BSBN_API int bsbn_flip_sums(struct bsbn_flip_sums_args* args);

/* ---- uniforms.cpp ----------------------------------------------------------------------------- */

/* Uniforms in [0, 1), float32 or float64, a function of the seed and the index alone. */
struct bsbn_uniforms_args {
  void* values;
  int64_t value_type;
  int64_t length;
  int64_t seed; /* 64 bits, of either sign */
  int64_t num_threads;
  int64_t ran_isa; /* out */
};
BSBN_API int bsbn_uniforms(struct bsbn_uniforms_args* args);

/* ---- ensemble.cpp ----------------------------------------------------------------------------- */

/* A dense layer of +-1 weights with probabilities q 2^-32, 0 <= q <= 2^32.
 *
 * Units come in blocks of 16, inputs in words of 32, both padded with q = 0.  Bit i of a plane is that
 * of input 32 word + i; bit planes of q follow from the most significant (2^32) down:
 *
 *     hot   (block, word, plane 0..8, unit of the block)    planes 2^32, 2^31, ..., 2^24
 *     cold  (block, word, unit of the block, plane 9..32)   planes 2^23, ..., 1
 */
struct bsbn_ensemble_layer {
  const uint32_t* hot;
  const uint32_t* cold;
  const uint32_t* words; /* packed weights, (draws, units, words of a unit), in place of planes; or null */
  const double* scale; /* (units), or (draws, units); of the first layer, times the inputs' step */
  const double* bias;
  int64_t has_units_of_draws; /* whether scale and bias are those of each draw */
  int64_t site;               /* 0..65535 */
  int64_t units;
  int64_t inputs;
  int64_t law; /* a bsbn_flip_law but SCALED_LOGISTIC; of the last layer it is not read */
  double noise_scale;
};

/* Integer logits of draws of a network for rows, as bayes_sbn/kernels/reference/network.py defines
 * them: weights and activations are drawn where they are used and never stored as a whole. */
struct bsbn_ensemble_args {
  const int16_t* inputs; /* (rows, inputs of the first layer) */
  const struct bsbn_ensemble_layer* layers;
  const int64_t* draws; /* indices of the draws, 0..2^32-1 */
  int64_t* dots;        /* out: (draws, rows, units of the last layer) */
  int64_t num_layers;
  int64_t num_draws;
  int64_t rows;
  int64_t first_row; /* index of the first row; it matters to noise of the rows' own */
  int64_t key0;      /* 32 bits each */
  int64_t key1;
  int64_t is_shared; /* whether the rows of a draw share the noise of the activations */
  int64_t num_threads;
  int64_t ran_isa; /* out */
};
BSBN_API int bsbn_ensemble(struct bsbn_ensemble_args* args);

/* ---- layers.cpp ------------------------------------------------------------------------------- */

/* Packed weights of draws of a layer, whose planes are those of bsbn_ensemble_layer. */
struct bsbn_draw_weights_args {
  const uint32_t* hot;
  const uint32_t* cold;
  const int64_t* draws; /* indices of the draws, 0..2^32-1 */
  uint32_t* words;      /* out: (draws, units, words of a unit) */
  int64_t num_draws;
  int64_t site;
  int64_t units;
  int64_t inputs;
  int64_t key0;
  int64_t key1;
  int64_t num_threads;
  int64_t ran_isa; /* out */
};
BSBN_API int bsbn_draw_weights(struct bsbn_draw_weights_args* args);

/* Inner products of packed +-1 rows with packed +-1 weights; padding bits are not read. */
struct bsbn_xnor_linear_args {
  const int32_t* rows;    /* (num_rows, words) */
  const int32_t* weights; /* (units, words) */
  int32_t* dots;          /* out: (num_rows, units) */
  int64_t num_rows;
  int64_t units;
  int64_t length; /* values in a row, below 2^31 */
  int64_t num_threads;
  int64_t ran_isa; /* out */
};
BSBN_API int bsbn_xnor_linear(struct bsbn_xnor_linear_args* args);

/* ---- fused_linear.cpp ------------------------------------------------------------------------- */

/* One layer for rows that are packed +-1 values, or, where `rows` is null, 16-bit integers, as
 * bayes_sbn/kernels/reference/fused_linear.py defines it.  Padding bits of rows and of packed weights
 * may be anything.  Of `layer` scale and bias are (units), and packed weights (units, words). */

/* Signs of a = scale * dot + bias with noise: bits of a layer of an ensemble, of one draw. */
struct bsbn_stochastic_linear_args {
  const struct bsbn_ensemble_layer* layer;
  const int32_t* rows;    /* (num_rows, words) */
  const int16_t* numbers; /* (num_rows, inputs) */
  int32_t* words;         /* out: (num_rows, words of the units) */
  int64_t num_rows;
  int64_t first_row; /* index of the first row; it matters to noise of the rows' own */
  int64_t draw;      /* 0..2^32-1 */
  int64_t key0;      /* 32 bits each */
  int64_t key1;
  int64_t is_shared; /* whether the rows share the noise */
  int64_t num_threads;
  int64_t ran_isa; /* out */
};
BSBN_API int bsbn_stochastic_linear(struct bsbn_stochastic_linear_args* args);

/* Signs of a: +1 where a > 0.  Weights are packed; site and law are not read, here and below. */
struct bsbn_sign_linear_args {
  const struct bsbn_ensemble_layer* layer;
  const int32_t* rows;
  const int16_t* numbers;
  int32_t* words; /* out: (num_rows, words of the units) */
  int64_t num_rows;
  int64_t num_threads;
  int64_t ran_isa; /* out */
};
BSBN_API int bsbn_sign_linear(struct bsbn_sign_linear_args* args);

/* a itself. */
struct bsbn_linear_logits_args {
  const struct bsbn_ensemble_layer* layer;
  const int32_t* rows;
  const int16_t* numbers;
  double* logits; /* out: (num_rows, units) */
  int64_t num_rows;
  int64_t num_threads;
  int64_t ran_isa; /* out */
};
BSBN_API int bsbn_linear_logits(struct bsbn_linear_logits_args* args);

/* Inner products of 16-bit integers with packed +-1 weights. */
struct bsbn_integer_linear_args {
  const int16_t* numbers;  /* (num_rows, inputs) */
  const uint32_t* weights; /* (units, words) */
  int64_t* dots;           /* out: (num_rows, units) */
  int64_t num_rows;
  int64_t units;
  int64_t inputs;
  int64_t num_threads;
  int64_t ran_isa; /* out */
};
BSBN_API int bsbn_integer_linear(struct bsbn_integer_linear_args* args);

/* ---- probabilities.cpp ------------------------------------------------------------------------ */

/* Class probabilities of integer logits: the softmax of scale * dot + bias, operation by operation as
 * bayes_sbn/kernels/reference/network.py defines it. */
struct bsbn_probabilities_args {
  const int64_t* dots; /* (rows, classes) */
  const double* scale; /* (classes) */
  const double* bias;
  double* probabilities; /* out: of the shape of the dots */
  int64_t rows;
  int64_t classes;
  int64_t num_threads;
};
BSBN_API int bsbn_probabilities(struct bsbn_probabilities_args* args);

/* ---- convolutions.cpp, pooling.cpp ------------------------------------------------------------ */

/* Packed +-1 maps, channels side by side. */
struct bsbn_maps {
  const int32_t* words; /* (batch, height, width, words of the channels) */
  int64_t batch;
  int64_t height;
  int64_t width;
  int64_t channels;
};

/* How a kernel or a window of pooling moves over maps: its tap (i, j) at output (y, x) is at row
 * y * stride_height - top + i * dilation_height and column x * stride_width - left + j * dilation_width.
 * Taps outside the map are skipped. */
struct bsbn_window {
  int64_t height;
  int64_t width;
  int64_t stride_height;
  int64_t stride_width;
  int64_t dilation_height;
  int64_t dilation_width;
  int64_t top; /* rows of padding above the map */
  int64_t left;
  int64_t out_height;
  int64_t out_width;
};

/* Sums of maps times packed +-1 kernels over the taps that lie in the map; padding bits are not read. */
struct bsbn_xnor_conv2d_args {
  struct bsbn_maps maps;
  struct bsbn_window window;
  const int32_t* weights; /* (units, height, width, words of the channels of a group) */
  int32_t* dots;          /* out: (batch, out_height, out_width, units) */
  int64_t units;
  int64_t groups; /* divides channels and units */
  int64_t num_threads;
  int64_t ran_isa; /* out */
};
BSBN_API int bsbn_xnor_conv2d(struct bsbn_xnor_conv2d_args* args);

/* +1 where a window has a +1. */
struct bsbn_max_pool2d_args {
  struct bsbn_maps maps;
  struct bsbn_window window;
  int32_t* words; /* out: (batch, out_height, out_width, words of the channels) */
  int64_t num_threads;
  int64_t ran_isa; /* out */
};
BSBN_API int bsbn_max_pool2d(struct bsbn_max_pool2d_args* args);

/* Sums over windows, of at most 32767 cells. */
struct bsbn_sum_pool2d_args {
  struct bsbn_maps maps;
  struct bsbn_window window;
  int16_t* sums; /* out: (batch, out_height, out_width, channels) */
  int64_t num_threads;
  int64_t ran_isa; /* out */
};
BSBN_API int bsbn_sum_pool2d(struct bsbn_sum_pool2d_args* args);

#ifdef __cplusplus
}
#endif

#endif /* BSBN_H */
