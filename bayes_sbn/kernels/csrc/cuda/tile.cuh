// Products of bits by tensor cores: 16 units, 8 rows and 256 inputs at a time.
//
// mma.m16n8k256 with .and.popc adds popcount(w & x) of every unit and row.  (Its .xor.popc is emulated
// by sm_90 and later, so mismatches are popcount(w) + popcount(x) - 2 popcount(w & x); the two counts
// are products with ones, in the places where they are needed.)
//
// Of the 32 threads of a warp, thread 4 g + q holds, of a chunk of 8 words of 32 inputs,
//
//     A   units g and g + 8, words 2 q and 2 q + 1        registers  (g, 2q) (g+8, 2q) (g, 2q+1) (g+8, 2q+1)
//     B   row g, words 2 q and 2 q + 1
//     C   units g and g + 8, rows 2 q and 2 q + 1         registers  (g, 2q) (g, 2q+1) (g+8, 2q) (g+8, 2q+1)
//
// The instruction numbers words of inputs otherwise; a sum does not depend on their order.
#ifndef BSBN_CUDA_TILE_CUH
#define BSBN_CUDA_TILE_CUH

#include <cstdint>

namespace {

constexpr int kChunkWords = 8;
constexpr int kTileUnits = 32;  // of a warp: two products of 16, and so whole words of activations
constexpr int kTileRows = 32;   // of a warp: four products of 8, which share words of the noise
constexpr uint32_t kOnes = 0xFFFFFFFFu;

__device__ inline void multiply(uint32_t (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
#if defined(BSBN_EMULATED)
  emulate_mma_and_popc(c, a, b0, b1);
#else
  asm volatile(
      "mma.sync.aligned.m16n8k256.row.col.s32.b1.b1.s32.and.popc "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#endif
}

// Sums over inputs for 32 units and 32 rows, modulo 2^32: of w x for w and x in {0, 1}, of x, and of w;
// or, of numbers x, of w x, of -x, and nothing.
struct Sums {
  uint32_t products[2][4][4];
  uint32_t of_rows[4][4];
  uint32_t of_weights[2][4];

  __device__ void clear() {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) products[0][j][i] = products[1][j][i] = of_rows[j][i] = 0;
      of_weights[0][i] = of_weights[1][i] = 0;
    }
  }

  // What unit 16 m + 8 h + g sees of row 8 j + 2 q + e: mismatches, or the dot of +-1 and numbers.
  __device__ int32_t value(int m, int h, int j, int e, bool is_number) const {
    const uint32_t factor = is_number ? 2u : 0u - 2u;
    return static_cast<int32_t>(factor * products[m][j][2 * h + e] + of_rows[j][e] + of_weights[m][2 * h]);
  }
};

// Adds a chunk of a plane of the rows; `b` has two words of four rows, 8 apart.
__device__ inline void add_signs(Sums& sums, const uint32_t (&a)[2][4], const uint32_t (&b)[4][2]) {
  const uint32_t ones[4] = {kOnes, kOnes, kOnes, kOnes};
  multiply(sums.of_weights[0], a[0], kOnes, kOnes);
  multiply(sums.of_weights[1], a[1], kOnes, kOnes);
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    multiply(sums.products[0][j], a[0], b[j][0], b[j][1]);
    multiply(sums.products[1][j], a[1], b[j][0], b[j][1]);
    multiply(sums.of_rows[j], ones, b[j][0], b[j][1]);
  }
}

// The same of a bit plane of numbers, whose bits count `weight` each, modulo 2^32.
__device__ inline void add_plane(Sums& sums, const uint32_t (&a)[2][4], const uint32_t (&b)[4][2],
                                 uint32_t weight) {
  const uint32_t ones[4] = {kOnes, kOnes, kOnes, kOnes};
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    uint32_t first[4] = {0, 0, 0, 0}, second[4] = {0, 0, 0, 0}, row[4] = {0, 0, 0, 0};
    multiply(first, a[0], b[j][0], b[j][1]);
    multiply(second, a[1], b[j][0], b[j][1]);
    multiply(row, ones, b[j][0], b[j][1]);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      sums.products[0][j][i] += weight * first[i];
      sums.products[1][j][i] += weight * second[i];
      sums.of_rows[j][i] -= weight * row[i];
    }
  }
}

}  // namespace

#endif  // BSBN_CUDA_TILE_CUH
