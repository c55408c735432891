// Rows of bytes and products by tiles: 16 rows times 16 units and 64 inputs in one instruction.
//
// A tile has 16 rows of 64 bytes.  One of rows has 64 inputs of 16 rows; one of weights has, in row j, the
// inputs 4 j to 4 j + 3 of 16 units side by side.  Weights are -1 or +1; an input of +1 is the byte -1
// and an input of -1 the byte 0, so that
//
//     mismatches = (number of weights +1) + sum of products,
//
// which is the accumulator that begins with the former.  Numbers of 16 bits are 256 h + l, a signed and
// an unsigned byte, and their sums 256 (sum of h w) + (sum of l w).  Weights beyond the inputs are 0.
//
// Included by the files of instruction sets, hence nothing here may have external linkage.
#ifndef BSBN_AMX_TILES_H
#define BSBN_AMX_TILES_H

#include "../avx512/lanes.h"

namespace {

// Tiles may be read and written behind the compiler's back.
inline void settle_memory() { asm volatile("" ::: "memory"); }

class TileLanes : public WideLanes {
 public:
  using WideLanes::WideLanes;
  static constexpr int kBlocks = 2;

  // All eight tiles of a thread in full size, and what they were before put back.
  class Session {
   public:
    Session() {
      _tile_storeconfig(before_);
      alignas(64) uint8_t config[64] = {1};
      for (int tile = 0; tile < 8; ++tile) {
        config[16 + 2 * tile] = 64;
        config[48 + tile] = 16;
      }
      settle_memory();
      _tile_loadconfig(config);
    }
    ~Session() {
      settle_memory();
      if (before_[0] == 0) {
        _tile_release();
      } else {
        _tile_loadconfig(before_);
      }
    }
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

   private:
    alignas(64) uint8_t before_[64];
  };

  // The words of one block, the tiles of two, and their numbers of +1.
  static int64_t weight_bytes(int64_t inputs) { return steps(inputs) * (128 + kBlocks * kTile) + kBlocks * 64; }
  static int64_t row_bytes(int64_t values) { return 64 * (steps(values) | 1); }  // not a power of two
  static int64_t input_row_bytes(int64_t inputs, bool are_signs, int64_t largest) {
    return 64 * ((are_signs || largest <= 127 ? steps(inputs) : 2 * steps(inputs)) | 1);
  }

  static uint32_t* words_of(uint8_t* weights, int64_t, int64_t) { return reinterpret_cast<uint32_t*>(weights); }

  static void prepare(uint8_t* weights, int64_t block, int64_t inputs) {
    const int64_t words = (inputs + 31) / 32;
    uint32_t* const packed = words_of(weights, block, inputs);
    if (words % 2 != 0) _mm512_storeu_si512(packed + words * kLanes, _mm512_setzero_si512());
    Vector ones = _mm512_setzero_si512();
    uint8_t* tile = tiles_of(weights, block, inputs);
    for (int64_t step = 0; step < steps(inputs); ++step, tile += kTile) {
      for (int half = 0; half < 2; ++half) {
        const int64_t word = 2 * step + half;
        const Vector w = _mm512_loadu_si512(packed + word * kLanes);
        ones = _mm512_add_epi32(ones, _mm512_popcnt_epi32(w));
        const uint32_t valid = word < words ? valid_bits(inputs, word) : 0;
        if (valid == 0xFFFFFFFFu) {
          spread_word<true>(w, w, tile + 512 * half);
        } else {
          spread_word<false>(w, _mm512_set1_epi32(static_cast<int32_t>(valid)), tile + 512 * half);
        }
      }
    }
    _mm512_storeu_si512(ones_of(weights, block, inputs), ones);
  }

  static Rows inputs(const bsbn::EnsembleWork* work, uint8_t* memory) {
    const bsbn_ensemble_args& args = *work->args;
    const int64_t length = args.layers[0].inputs;
    const bool are_signs = work->packed != nullptr;
    const int64_t stride = input_row_bytes(length, are_signs, work->largest_input);
    if (are_signs) {
      spread_rows(work->packed, args.rows, length, memory);
    } else {
      split_rows(args.inputs, args.rows, length, work->largest_input, memory, stride);
    }
    return Rows{memory, stride, are_signs, nullptr, 0};
  }

  // Packed rows to bytes, whose stride is row_bytes(length); padding bits may be anything.
  static void spread_rows(const uint32_t* rows, int64_t number, int64_t length, uint8_t* target) {
    const int64_t words = (length + 31) / 32, stride = row_bytes(length);
    for (int64_t row = 0; row < number; ++row, rows += words, target += stride) {
      for (int64_t word = 0; word < words; word += 2) {
        uint64_t bits = rows[word] & valid_bits(length, word);
        if (word + 1 < words) bits |= uint64_t{rows[word + 1] & valid_bits(length, word + 1)} << 32;
        _mm512_storeu_si512(target + 32 * word, _mm512_movm_epi8(bits));
      }
    }
  }

  static void see(const uint8_t* weights, int blocks, const Rows& rows, int64_t inputs, int64_t first,
                  int number, int place, Values* v) {
    const uint8_t* const lower = rows.lower + first * rows.lower_stride;
    const bool has_two = number > 16;
    if (blocks == 2) {
      has_two ? multiply<2, 2>(weights, rows, lower, inputs, place, v)
              : multiply<2, 1>(weights, rows, lower, inputs, place, v);
    } else {
      has_two ? multiply<1, 2>(weights, rows, lower, inputs, place, v)
              : multiply<1, 1>(weights, rows, lower, inputs, place, v);
    }
  }

  static void write(const Rows& rows, int64_t row, int64_t block, bool, uint32_t bits) {
    uint8_t* const target = rows.upper + row * rows.upper_stride + 16 * block;
    _mm_storeu_si128(reinterpret_cast<__m128i*>(target), _mm_movm_epi8(static_cast<__mmask16>(bits)));
  }

 private:
  static constexpr int64_t kTile = 1024;
  enum Signs { kSignedRows, kUnsignedRows };

  static int64_t steps(int64_t inputs) { return (inputs + 63) / 64; }

  static uint8_t* tiles_of(uint8_t* weights, int64_t block, int64_t inputs) {
    return weights + steps(inputs) * (128 + block * kTile);
  }
  static const uint8_t* tiles_of(const uint8_t* weights, int64_t block, int64_t inputs) {
    return tiles_of(const_cast<uint8_t*>(weights), block, inputs);
  }
  static uint8_t* ones_of(uint8_t* weights, int64_t block, int64_t inputs) {
    return tiles_of(weights, kBlocks, inputs) + 64 * block;
  }

  // A word of 16 units to eight rows of a tile; bits that are not valid to 0.
  template <bool are_all>
  static inline void spread_word(Vector w, Vector valid, uint8_t* tile) {
    const Vector minus = _mm512_set1_epi8(-1), plus = _mm512_set1_epi8(1);
    for (int byte = 0; byte < 4; ++byte) {
      const Vector at = _mm512_broadcast_i32x4(_mm_setr_epi8(
          static_cast<char>(byte), static_cast<char>(byte), static_cast<char>(byte), static_cast<char>(byte),
          static_cast<char>(4 + byte), static_cast<char>(4 + byte), static_cast<char>(4 + byte),
          static_cast<char>(4 + byte), static_cast<char>(8 + byte), static_cast<char>(8 + byte),
          static_cast<char>(8 + byte), static_cast<char>(8 + byte), static_cast<char>(12 + byte),
          static_cast<char>(12 + byte), static_cast<char>(12 + byte), static_cast<char>(12 + byte)));
      const Vector bytes = _mm512_shuffle_epi8(w, at);
      const Vector there = are_all ? bytes : _mm512_shuffle_epi8(valid, at);
      for (int half = 0; half < 2; ++half) {
        const Vector bit = _mm512_set1_epi32(half ? static_cast<int32_t>(0x80402010u) : 0x08040201);
        Vector values = _mm512_mask_blend_epi8(_mm512_test_epi8_mask(bytes, bit), minus, plus);
        if (!are_all) values = _mm512_maskz_mov_epi8(_mm512_test_epi8_mask(there, bit), values);
        _mm512_storeu_si512(tile + 128 * byte + 64 * half, values);
      }
    }
  }

  static void split_rows(const int16_t* rows, int64_t number, int64_t length, int64_t largest, uint8_t* target,
                         int64_t stride) {
    const int64_t low = largest <= 127 ? 0 : 64 * steps(length);
    for (int64_t row = 0; row < number; ++row, rows += length, target += stride) {
      for (int64_t i = 0; i < length; ++i) {
        const uint16_t bits = static_cast<uint16_t>(rows[i]);
        target[i] = static_cast<uint8_t>(bits >> 8);
        target[low + i] = static_cast<uint8_t>(bits);
      }
    }
  }

  // The accumulators of `blocks` times `halves` tiles, in the places of v.
  template <int blocks, int halves>
  static void multiply(const uint8_t* weights, const Rows& rows, const uint8_t* lower, int64_t inputs, int place,
                       Values* v) {
    settle_memory();
    if (rows.are_signs) {
      const uint8_t* const ones = tiles_of(weights, kBlocks, inputs);
      _tile_loadd(0, ones, 0);
      if (halves == 2) _tile_loadd(2, ones, 0);
      if (blocks == 2) _tile_loadd(1, ones + 64, 0);
      if (blocks == 2 && halves == 2) _tile_loadd(3, ones + 64, 0);
      accumulate<blocks, halves, kSignedRows>(weights, lower, rows.lower_stride, inputs);
    } else {
      const bool has_two_bytes = rows.lower_stride >= 64 * 2 * steps(inputs);
      _tile_zero(0);
      _tile_zero(1);
      _tile_zero(2);
      _tile_zero(3);
      accumulate<blocks, halves, kSignedRows>(weights, lower, rows.lower_stride, inputs);
      if (has_two_bytes) {
        store<blocks, halves>(place, v);
        settle_memory();
        for (int b = 0; b < blocks; ++b) {
          for (int r = place; r < place + 16 * halves; ++r) {
            _mm512_store_si512(v[b].of[r], _mm512_slli_epi32(_mm512_load_si512(v[b].of[r]), 8));
          }
        }
        settle_memory();
        _tile_loadd(0, v[0].of[place], 64);
        if (halves == 2) _tile_loadd(2, v[0].of[place + 16], 64);
        if (blocks == 2) _tile_loadd(1, v[1].of[place], 64);
        if (blocks == 2 && halves == 2) _tile_loadd(3, v[1].of[place + 16], 64);
        accumulate<blocks, halves, kUnsignedRows>(weights, lower + 64 * steps(inputs), rows.lower_stride, inputs);
      }
    }
    store<blocks, halves>(place, v);
    settle_memory();
  }

  template <int blocks, int halves>
  static inline void store(int place, Values* v) {
    _tile_stored(0, v[0].of[place], 64);
    if (halves == 2) _tile_stored(2, v[0].of[place + 16], 64);
    if (blocks == 2) _tile_stored(1, v[1].of[place], 64);
    if (blocks == 2 && halves == 2) _tile_stored(3, v[1].of[place + 16], 64);
  }

  // Tiles are named by constants.
#define BSBN_TILE_PRODUCT(sum, rows, weights) \
  do {                                        \
    if (signs == kSignedRows) {               \
      _tile_dpbssd(sum, rows, weights);       \
    } else {                                  \
      _tile_dpbusd(sum, rows, weights);       \
    }                                         \
  } while (false)

  template <int blocks, int halves, Signs signs>
  static inline void accumulate(const uint8_t* weights, const uint8_t* lower, int64_t stride, int64_t inputs) {
    const uint8_t* first = tiles_of(weights, 0, inputs);
    const uint8_t* second = tiles_of(weights, 1, inputs);
    for (int64_t step = 0; step < steps(inputs); ++step) {
      _tile_loadd(4, lower, stride);
      _tile_loadd(6, first, 64);
      BSBN_TILE_PRODUCT(0, 4, 6);
      if (blocks == 2) {
        _tile_loadd(7, second, 64);
        BSBN_TILE_PRODUCT(1, 4, 7);
      }
      if (halves == 2) {
        _tile_loadd(5, lower + 16 * stride, stride);
        BSBN_TILE_PRODUCT(2, 5, 6);
        if (blocks == 2) BSBN_TILE_PRODUCT(3, 5, 7);
      }
      lower += 64;
      first += kTile;
      second += kTile;
    }
  }
#undef BSBN_TILE_PRODUCT
};

}  // namespace

#endif  // BSBN_AMX_TILES_H
