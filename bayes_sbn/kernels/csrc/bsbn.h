/* The C ABI of the bayes_sbn kernel library: everything the Python side may call.
 *
 * Every operation takes one pointer to a plain struct of pointers and 64-bit integers and returns a
 * status; bsbn_last_error() then says in words what was wrong.  The bits are the same for every
 * instruction set and every number of threads, and equal to bayes_sbn/kernels/reference/.
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
#else
#define BSBN_API __attribute__((visibility("default")))
#endif

/* Raised by one whenever a struct or a function below changes; the loader refuses another number. */
#define BSBN_ABI_VERSION 2

#ifdef __cplusplus
extern "C" {
#endif

enum bsbn_status {
  BSBN_OK = 0,
  BSBN_INVALID_ARGUMENT = 1, /* a null pointer, a negative size, an unknown code */
  BSBN_NOT_A_SIGN = 2,       /* a value to be packed is neither -1 nor +1 */
  BSBN_UNAVAILABLE = 3       /* this build or this processor lacks the instruction set */
};

enum bsbn_isa_code { BSBN_PORTABLE = 0, BSBN_AVX2 = 1, BSBN_AVX512 = 2, BSBN_NUM_ISAS = 3 };

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
  int64_t ran_isa;   /* out: the instruction set of the code that did the work */
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

#ifdef __cplusplus
}
#endif

#endif /* BSBN_H */
