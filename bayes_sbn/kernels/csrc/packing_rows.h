// The loops over rows and words that all packing kernels share, and the scalar form of each word.
//
// Included by the files of every instruction set, hence nothing here may have external linkage: the
// linker would keep one copy, perhaps the one with wide instructions, for all of them.  Everything is
// in the anonymous namespace, and there are no containers of the standard library.
//
// A file of an instruction set supplies `struct Words` with
//     static uint32_t pack(Type, const void* values, uint32_t* wrong)     32 values to a word
//     static void unpack(Type, uint32_t word, void* values)               a word to 32 values
//     static int64_t count(const uint32_t* words, int64_t num_words)      +1 bits of whole words
// where Type is one of Float32, Float64, Int8, Bool, and `wrong` becomes nonzero if a value is not a
// sign.  Values are compared as bit patterns, which is exact and knows what to do with a NaN.
#ifndef BSBN_PACKING_ROWS_H
#define BSBN_PACKING_ROWS_H

#include <cstdint>
#include <cstring>

#include "packing.h"

namespace {

struct Float32 {
  typedef uint32_t Raw;
  static uint32_t bit(Raw value) { return (value >> 31) ^ 1u; }
  static uint32_t wrong(Raw value) { return (value & 0x7FFFFFFFu) ^ 0x3F800000u; }
  static Raw value(uint32_t bit) { return 0xBF800000u ^ (bit << 31); }
};

struct Float64 {
  typedef uint64_t Raw;
  static uint32_t bit(Raw value) { return static_cast<uint32_t>(value >> 63) ^ 1u; }
  static uint32_t wrong(Raw value) {
    return (value & 0x7FFFFFFFFFFFFFFFu) != 0x3FF0000000000000u ? 1u : 0u;
  }
  static Raw value(uint32_t bit) {
    return 0xBFF0000000000000u ^ (static_cast<uint64_t>(bit) << 63);
  }
};

struct Int8 {
  typedef uint8_t Raw;
  static uint32_t bit(Raw value) { return (value >> 7) ^ 1u; }
  // +1 and -1 are the two values that give 2 and 0 when one is added.
  static uint32_t wrong(Raw value) { return (value + 1u) & 0xFDu; }
  static Raw value(uint32_t bit) { return static_cast<Raw>(2u * bit - 1u); }
};

struct Bool {
  typedef uint8_t Raw;
  static uint32_t bit(Raw value) { return value != 0 ? 1u : 0u; }
  static uint32_t wrong(Raw) { return 0; }
  static Raw value(uint32_t bit) { return static_cast<Raw>(bit); }
};

template <class Type>
inline typename Type::Raw load(const void* values, int64_t index) {
  typename Type::Raw value;
  std::memcpy(&value, static_cast<const char*>(values) + index * sizeof value, sizeof value);
  return value;
}

template <class Type>
inline void store(void* values, int64_t index, typename Type::Raw value) {
  std::memcpy(static_cast<char*>(values) + index * sizeof value, &value, sizeof value);
}

template <class Type>
inline const void* at(const void* values, int64_t index) {
  return static_cast<const char*>(values) + index * sizeof(typename Type::Raw);
}

template <class Type>
inline void* at(void* values, int64_t index) {
  return static_cast<char*>(values) + index * sizeof(typename Type::Raw);
}

// One word of `count` <= 32 values, bit by bit; padding bits are 0.
template <class Type>
inline uint32_t pack_scalar(const void* values, int64_t count, uint32_t* wrong) {
  uint32_t word = 0;
  uint32_t difference = 0;
  for (int64_t i = 0; i < count; ++i) {
    const typename Type::Raw value = load<Type>(values, i);
    word |= Type::bit(value) << i;
    difference |= Type::wrong(value);
  }
  *wrong |= difference;
  return word;
}

template <class Type>
inline void unpack_scalar(uint32_t word, int64_t count, void* values) {
  for (int64_t i = 0; i < count; ++i) store<Type>(values, i, Type::value((word >> i) & 1u));
}

inline int64_t count_scalar(uint32_t word) {
  word -= (word >> 1) & 0x55555555u;
  word = (word & 0x33333333u) + ((word >> 2) & 0x33333333u);
  word = (word + (word >> 4)) & 0x0F0F0F0Fu;
  return static_cast<int64_t>((word * 0x01010101u) >> 24);
}

template <class Type>
inline int64_t first_wrong(const void* values, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    if (Type::wrong(load<Type>(values, i)) != 0) return i;
  }
  return -1;
}

template <class Words, class Type>
int64_t pack_rows_of(const bsbn_pack_args* args, int64_t first, int64_t last) {
  const int64_t length = args->length;
  const int64_t whole = length / 32;
  const int64_t num_words = (length + 31) / 32;
  for (int64_t row = first; row < last; ++row) {
    const void* values = at<Type>(args->values, row * length);
    int32_t* words = args->words + row * num_words;
    uint32_t wrong = 0;
    for (int64_t k = 0; k < whole; ++k) {
      words[k] = static_cast<int32_t>(Words::pack(Type(), at<Type>(values, 32 * k), &wrong));
    }
    if (whole < num_words) {
      words[whole] = static_cast<int32_t>(
          pack_scalar<Type>(at<Type>(values, 32 * whole), length - 32 * whole, &wrong));
    }
    if (wrong != 0) return row * length + first_wrong<Type>(values, length);
  }
  return -1;
}

template <class Words, class Type>
void unpack_rows_of(const bsbn_unpack_args* args, int64_t first, int64_t last) {
  const int64_t length = args->length;
  const int64_t whole = length / 32;
  const int64_t num_words = (length + 31) / 32;
  for (int64_t row = first; row < last; ++row) {
    const int32_t* words = args->words + row * num_words;
    void* values = at<Type>(args->values, row * length);
    for (int64_t k = 0; k < whole; ++k) {
      Words::unpack(Type(), static_cast<uint32_t>(words[k]), at<Type>(values, 32 * k));
    }
    if (whole < num_words) {
      unpack_scalar<Type>(static_cast<uint32_t>(words[whole]), length - 32 * whole,
                          at<Type>(values, 32 * whole));
    }
  }
}

template <class Words>
int64_t pack_any(const bsbn_pack_args* args, int64_t first, int64_t last) {
  switch (args->value_type) {
    case BSBN_FLOAT32:
      return pack_rows_of<Words, Float32>(args, first, last);
    case BSBN_FLOAT64:
      return pack_rows_of<Words, Float64>(args, first, last);
    case BSBN_INT8:
      return pack_rows_of<Words, Int8>(args, first, last);
    default:
      return pack_rows_of<Words, Bool>(args, first, last);
  }
}

template <class Words>
void unpack_any(const bsbn_unpack_args* args, int64_t first, int64_t last) {
  switch (args->value_type) {
    case BSBN_FLOAT32:
      return unpack_rows_of<Words, Float32>(args, first, last);
    case BSBN_FLOAT64:
      return unpack_rows_of<Words, Float64>(args, first, last);
    case BSBN_INT8:
      return unpack_rows_of<Words, Int8>(args, first, last);
    default:
      return unpack_rows_of<Words, Bool>(args, first, last);
  }
}

template <class Words>
void popcount_any(const bsbn_popcount_args* args, int64_t first, int64_t last) {
  const int64_t whole = args->length / 32;
  const int64_t num_words = (args->length + 31) / 32;
  const uint32_t tail = (1u << (args->length & 31)) - 1u;
  for (int64_t row = first; row < last; ++row) {
    const uint32_t* words = reinterpret_cast<const uint32_t*>(args->words) + row * num_words;
    int64_t count = Words::count(words, whole);
    if (whole < num_words) count += count_scalar(words[whole] & tail);
    args->counts[row] = count;
  }
}

}  // namespace

#endif  // BSBN_PACKING_ROWS_H
