// Products with rows of numbers by tiles: 16 rows times 16 units and 64 inputs in one instruction.
//
// A tile has 16 rows of 64 bytes.  One of rows has 64 inputs of 16 rows; one of weights has, in row j, the
// inputs 4 j to 4 j + 3 of 16 units side by side, -1 or +1 and 0 beyond the inputs.  Numbers of 16 bits
// are 256 h + l, a signed and an unsigned byte, and their sums 256 (sum of h w) + (sum of l w).
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

  // The words of two blocks, and their tiles.
  static int64_t weight_bytes(int64_t inputs) { return kBlocks * steps(inputs) * (128 + kTile); }

  static uint32_t* words_of(uint8_t* weights, int64_t block, int64_t inputs) {
    return reinterpret_cast<uint32_t*>(weights + block * steps(inputs) * 128);
  }

  static void prepare(uint8_t* weights, int64_t block, int64_t inputs) {
    const int64_t words = (inputs + 31) / 32;
    const uint32_t* const packed = words_of(weights, block, inputs);
    uint8_t* tile = weights + tiles_at(block, inputs);
    for (int64_t word = 0; word < 2 * steps(inputs); ++word, tile += kTile / 2) {
      const Vector w = word < words ? _mm512_loadu_si512(packed + word * kLanes) : _mm512_setzero_si512();
      const uint32_t valid = word < words ? valid_bits(inputs, word) : 0;
      if (valid == 0xFFFFFFFFu) {
        spread_word<true>(w, w, tile);
      } else {
        spread_word<false>(w, _mm512_set1_epi32(static_cast<int32_t>(valid)), tile);
      }
    }
  }

  // By groups of 32 rows and halves of these, the tiles of signed bytes, and perhaps of unsigned ones.
  struct View {
    const uint8_t* tiles;
    bool have_two_bytes;
  };
  static int64_t view_bytes(const bsbn_ensemble_args& args, int64_t inputs, int64_t largest) {
    return group_bytes(inputs, largest > 127) * num_groups(args);
  }
  static View view(const bsbn_ensemble_args& args, int64_t inputs, int64_t largest, uint8_t* memory) {
    const bool have_two_bytes = largest > 127;
    for (int64_t row = 0; row < args.rows; ++row) {
      const int64_t place = args.first_row % kRows + row;
      split_row(args.inputs + row * inputs, inputs, have_two_bytes,
                memory + place / kRows * group_bytes(inputs, have_two_bytes), place % kRows);
    }
    return View{memory, have_two_bytes};
  }

  template <class Beside>
  static void see(const uint8_t* weights, int blocks, const Rows&, const View& view, int64_t inputs, int64_t,
                  int64_t group, int place, int number, Values* v, const Beside& beside) {
    const uint8_t* const tiles = view.tiles + group * group_bytes(inputs, view.have_two_bytes);
    const bool has_first = place < 16, has_second = place + number > 16;
    const Products products{weights + tiles_at(0, inputs), weights + tiles_at(1, inputs),
                            tiles + (has_first ? 0 : 1) * steps(inputs) * kTile, steps(inputs)};
    const int first = has_first ? 0 : 16;
    if (blocks == 2) {
      has_first && has_second ? multiply<2, 2>(products, view.have_two_bytes, first, v, beside)
                              : multiply<2, 1>(products, view.have_two_bytes, first, v, beside);
    } else {
      has_first && has_second ? multiply<1, 2>(products, view.have_two_bytes, first, v, beside)
                              : multiply<1, 1>(products, view.have_two_bytes, first, v, beside);
    }
  }

 private:
  static constexpr int64_t kTile = 1024;
  enum Signs { kSignedRows, kUnsignedRows };

  struct Products {
    const uint8_t *first, *second;  // the tiles of the blocks
    const uint8_t* rows;
    int64_t steps;
  };

  static int64_t steps(int64_t inputs) { return (inputs + 63) / 64; }
  static int64_t tiles_at(int64_t block, int64_t inputs) { return steps(inputs) * (kBlocks * 128 + block * kTile); }
  static int64_t group_bytes(int64_t inputs, bool have_two_bytes) {
    return (have_two_bytes ? 4 : 2) * kTile * steps(inputs);
  }

  // A word of 16 units to eight rows of a tile; bits that are not valid to 0.
  template <bool are_all>
  static inline void spread_word(Vector w, Vector valid, uint8_t* tile) {
    const Vector minus = _mm512_set1_epi8(-1), plus = _mm512_set1_epi8(1);
    for (int byte = 0; byte < 4; ++byte) {
      const int32_t one = 0x01010101 * byte;  // this byte of each unit, four times
      const Vector at = _mm512_broadcast_i32x4(
          _mm_setr_epi32(one, one + 0x04040404, one + 0x08080808, one + 0x0C0C0C0C));
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
  static void split_row(const int16_t* numbers, int64_t length, bool have_two_bytes, uint8_t* group, int64_t at) {
    uint8_t* const first = group + at / 16 * steps(length) * kTile + at % 16 * 64;
    const int64_t low = have_two_bytes ? 2 * steps(length) * kTile : 0;
    for (int64_t i = 0; i < length; ++i) {
      const uint16_t bits = static_cast<uint16_t>(numbers[i]);
      uint8_t* const target = first + i / 64 * kTile + i % 64;
      target[0] = static_cast<uint8_t>(bits >> 8);
      target[low] = static_cast<uint8_t>(bits);
    }
  }

  // The sums of `blocks` times `halves` tiles, in the places of v.
  template <int blocks, int halves, class Beside>
  static void multiply(Products products, bool have_two_bytes, int place, Values* v, const Beside& beside) {
    settle_memory();
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    accumulate<blocks, halves, kSignedRows>(products, beside);
    store<blocks, halves>(place, v);
    settle_memory();
    if (!have_two_bytes) return;
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
    products.rows += 2 * products.steps * kTile;
    accumulate<blocks, halves, kUnsignedRows>(products, [](int64_t) {});
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
  static inline void accumulate(Products products, const Beside& beside) {
    const int64_t half = products.steps * kTile, rate = (int64_t{kParts} << 20) / products.steps;
    for (int64_t step = 0; step < products.steps; ++step) {
      const int64_t at = step * kTile;
      _tile_loadd(4, products.rows + at, 64);
      _tile_loadd(6, products.first + at, 64);
      BSBN_TILE_PRODUCT(0, 4, 6);
      if (blocks == 2) {
        _tile_loadd(7, products.second + at, 64);
        BSBN_TILE_PRODUCT(1, 4, 7);
      }
      if (halves == 2) {
        _tile_loadd(5, products.rows + half + at, 64);
        BSBN_TILE_PRODUCT(2, 5, 6);
        if (blocks == 2) BSBN_TILE_PRODUCT(3, 5, 7);
      }
      beside(rate * (step + 1) >> 20);
    }
  }
#undef BSBN_TILE_PRODUCT
};

}  // namespace

#endif  // BSBN_AMX_TILES_H
