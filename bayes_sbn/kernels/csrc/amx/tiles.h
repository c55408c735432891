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

  // The words of two blocks, their tiles, and their numbers of +1.
  static int64_t weight_bytes(int64_t inputs) { return kBlocks * (steps(inputs) * (128 + kTile) + 64); }

  // Of rows, by groups of 32 and halves of these, the tiles of signed bytes, and perhaps of unsigned ones.
  struct View {
    const uint8_t* tiles;
    bool are_signs, have_two_bytes;
  };
  static int64_t view_bytes(const bsbn::EnsembleWork* work, int64_t inputs) {
    const bool are_inputs = inputs < 0;
    const int64_t length = are_inputs ? work->args->layers[0].inputs : inputs;
    const bool have_two_bytes = are_inputs && work->packed == nullptr && work->largest_input > 127;
    return group_bytes(length, have_two_bytes) * num_groups(*work->args);
  }
  static View view(const bsbn::EnsembleWork* work, const Rows& rows, int64_t inputs, uint8_t* memory) {
    const bsbn_ensemble_args& args = *work->args;
    if (rows.packed != nullptr) {
      const int64_t words = (inputs + 31) / 32;
      for (int64_t group = 0; group < num_groups(args); ++group) {
        const uint32_t* const packed = rows.packed + group * words * kRows;
        for (int at = 0; at < kRows; ++at) {
          spread_row(packed + at, kRows, inputs, memory + group * group_bytes(inputs, false), at);
        }
      }
      return View{memory, true, false};
    }
    const bool have_two_bytes = work->largest_input > 127;
    const int64_t size = group_bytes(inputs, have_two_bytes);
    for (int64_t row = 0; row < args.rows; ++row) {
      const int64_t place = args.first_row % kRows + row;
      split_row(rows.numbers + row * inputs, inputs, have_two_bytes, memory + place / kRows * size,
                static_cast<int>(place % kRows));
    }
    return View{memory, false, have_two_bytes};
  }

  // A packed row to a group of tiles; bits beyond its length may be anything.
  static void spread_row(const uint32_t* words, int64_t stride, int64_t length, uint8_t* group, int at) {
    uint8_t* target = group + at / 16 * steps(length) * kTile + at % 16 * 64;
    const int64_t number = (length + 31) / 32;
    for (int64_t word = 0; word < number; word += 2, target += kTile) {
      uint64_t bits = words[word * stride] & valid_bits(length, word);
      if (word + 1 < number) bits |= uint64_t{words[(word + 1) * stride] & valid_bits(length, word + 1)} << 32;
      _mm512_storeu_si512(target, _mm512_movm_epi8(bits));
    }
  }
  static int64_t group_bytes(int64_t length, bool have_two_bytes) {
    return (have_two_bytes ? 4 : 2) * kTile * steps(length);
  }

  static uint32_t* words_of(uint8_t* weights, int64_t block, int64_t inputs) {
    return reinterpret_cast<uint32_t*>(weights + block * steps(inputs) * 128);
  }

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

  template <class Beside>
  static void see(const uint8_t* weights, int blocks, const View& view, int64_t inputs, int64_t, int64_t group,
                  int place, int number, Values* v, const Beside& beside) {
    const uint8_t* tiles = view.tiles + group * group_bytes(inputs, view.have_two_bytes);
    const bool has_first = place < 16, has_second = place + number > 16;
    const int half = has_first ? 0 : 1;
    tiles += half * steps(inputs) * kTile;
    if (blocks == 2) {
      has_first && has_second ? multiply<2, 2>(weights, view, tiles, inputs, 16 * half, v, beside)
                              : multiply<2, 1>(weights, view, tiles, inputs, 16 * half, v, beside);
    } else {
      has_first && has_second ? multiply<1, 2>(weights, view, tiles, inputs, 16 * half, v, beside)
                              : multiply<1, 1>(weights, view, tiles, inputs, 16 * half, v, beside);
    }
  }

 private:
  static constexpr int64_t kTile = 1024;
  enum Signs { kSignedRows, kUnsignedRows };

  static int64_t steps(int64_t inputs) { return (inputs + 63) / 64; }

  static uint8_t* tiles_of(uint8_t* weights, int64_t block, int64_t inputs) {
    return weights + steps(inputs) * (kBlocks * 128 + block * kTile);
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

  // Numbers as high bytes, and low bytes in tiles after those of the group; or as one byte.
  static void split_row(const int16_t* numbers, int64_t length, bool have_two_bytes, uint8_t* group, int at) {
    uint8_t* const first = group + at / 16 * steps(length) * kTile + at % 16 * 64;
    const int64_t low = have_two_bytes ? 2 * steps(length) * kTile : 0;
    for (int64_t i = 0; i < length; ++i) {
      const uint16_t bits = static_cast<uint16_t>(numbers[i]);
      uint8_t* const target = first + i / 64 * kTile + i % 64;
      target[0] = static_cast<uint8_t>(bits >> 8);
      target[low] = static_cast<uint8_t>(bits);
    }
  }

  // The accumulators of `blocks` times `halves` tiles, in the places of v.
  template <int blocks, int halves, class Beside>
  static void multiply(const uint8_t* weights, const View& view, const uint8_t* rows, int64_t inputs, int place,
                       Values* v, const Beside& beside) {
    settle_memory();
    if (view.are_signs) {
      const uint8_t* const ones = tiles_of(weights, kBlocks, inputs);
      _tile_loadd(0, ones, 0);
      if (halves == 2) _tile_loadd(2, ones, 0);
      if (blocks == 2) _tile_loadd(1, ones + 64, 0);
      if (blocks == 2 && halves == 2) _tile_loadd(3, ones + 64, 0);
      accumulate<blocks, halves, kSignedRows>(weights, rows, inputs, beside);
    } else {
      _tile_zero(0);
      _tile_zero(1);
      _tile_zero(2);
      _tile_zero(3);
      accumulate<blocks, halves, kSignedRows>(weights, rows, inputs, beside);
      if (view.have_two_bytes) {
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
        accumulate<blocks, halves, kUnsignedRows>(weights, rows + 2 * steps(inputs) * kTile, inputs,
                                                  [](int64_t) {});
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

  template <int blocks, int halves, Signs signs, class Beside>
  static inline void accumulate(const uint8_t* weights, const uint8_t* rows, int64_t inputs, const Beside& beside) {
    const int64_t rate = (kParts << 20) / steps(inputs);
    const uint8_t* first = tiles_of(weights, 0, inputs);
    const uint8_t* second = tiles_of(weights, 1, inputs);
    for (int64_t step = 0; step < steps(inputs); ++step) {
      _tile_loadd(4, rows, 64);
      _tile_loadd(6, first, 64);
      BSBN_TILE_PRODUCT(0, 4, 6);
      if (blocks == 2) {
        _tile_loadd(7, second, 64);
        BSBN_TILE_PRODUCT(1, 4, 7);
      }
      if (halves == 2) {
        _tile_loadd(5, rows + steps(inputs) * kTile, 64);
        BSBN_TILE_PRODUCT(2, 5, 6);
        if (blocks == 2) BSBN_TILE_PRODUCT(3, 5, 7);
      }
      beside(rate * (step + 1) >> 20);
      rows += kTile;
      first += kTile;
      second += kTile;
    }
  }
#undef BSBN_TILE_PRODUCT
};

}  // namespace

#endif  // BSBN_AMX_TILES_H
