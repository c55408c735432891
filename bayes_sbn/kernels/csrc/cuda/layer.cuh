// A layer in one draw: 32 units of a block of threads, against 8 groups of 32 rows at a time.
//
// The threads of a block draw the weights of its units into shared memory, chunk by chunk of 256
// inputs.  Then each warp multiplies them with a group of rows of its own and decides the activations
// where the sums lie: thread 4 g + q has units g, g + 8, g + 16, g + 24 and, of the group, rows
// 8 j + 2 q + e; the words of the noise are laid out in that way, so that none moves between threads.
#ifndef BSBN_CUDA_LAYER_CUH
#define BSBN_CUDA_LAYER_CUH

#include "decisions.cuh"
#include "tile.cuh"
#include "weights.cuh"

namespace {

constexpr int kWarps = 8, kThreads = 32 * kWarps;

// A group of rows that share words of the noise, and which of them are there.
struct Group {
  int64_t index;  // of the group among all rows, which need not begin with its first row
  int64_t begin;  // the row of this call at which it begins; may be negative
  int64_t rows;

  __device__ Group(const CudaLayer& layer, int64_t number)
      : index(layer.first_row / kTileRows + number),
        begin(kTileRows * number - layer.first_row % kTileRows),
        rows(layer.num_rows) {}

  __device__ bool has(int row) const { return begin + row >= 0 && begin + row < rows; }
};

__device__ inline int64_t num_groups(const CudaLayer& layer) {
  return (layer.first_row % kTileRows + layer.num_rows + kTileRows - 1) / kTileRows;
}

// Two words of each of the rows 8 j + g of a group.
__device__ inline void load_rows(const CudaLayer& layer, const uint32_t* plane, const Group& group,
                                 int64_t chunk, uint32_t (&b)[4][2]) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    const int row = 8 * j + lane / 4;
    uint2 words{0, 0};
    if (group.has(row)) {
      const int64_t word = chunk * kChunkWords + 2 * (lane % 4);
      words = *reinterpret_cast<const uint2*>(plane + (group.begin + row) * layer.row_words + word);
    }
    b[j][0] = words.x;
    b[j][1] = words.y;
  }
}

// Adds the chunks of a stage.
__device__ inline void add_stage(const CudaLayer& layer, int64_t position, const Group& group,
                                 int64_t first_chunk, int64_t chunks, const uint32_t* stage, Sums& sums) {
  const uint32_t* const rows = layer.rows + position * layer.rows_stride;
  const int64_t plane_words = layer.num_rows * layer.row_words;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  __syncwarp();  // products are of all threads of a warp at once
#pragma unroll 1
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    uint32_t a[2][4], b[4][2];
#pragma unroll
    for (int m = 0; m < 2; ++m) {
      const uint32_t* const words = stage + chunk * kChunkTile + 128 * m + 4 * lane;
      const uint4 four = *reinterpret_cast<const uint4*>(words);
      a[m][0] = four.x;
      a[m][1] = four.y;
      a[m][2] = four.z;
      a[m][3] = four.w;
    }
    if (!layer.is_number) {
      load_rows(layer, rows, group, first_chunk + chunk, b);
      add_signs(sums, a, b);
      continue;
    }
#pragma unroll 1
    for (int64_t plane = 0; plane < layer.planes; ++plane) {
      load_rows(layer, rows + plane * plane_words, group, first_chunk + chunk, b);
      const uint32_t weight = 1u << plane;
      add_plane(sums, a, b, plane + 1 == layer.planes ? 0u - weight : weight);
    }
  }
}

// Eight threads g of a warp have eight bits i each, in every byte; bit s of g and of i change places for
// s = 4, 2, 1, so that thread i has the bits of all g.
__device__ inline uint32_t transposed(uint32_t bits, int g) {
  constexpr uint32_t low[3] = {0x0F0F0F0Fu, 0x33333333u, 0x55555555u};
#pragma unroll
  for (int step = 0; step < 3; ++step) {
    const int s = 4 >> step;
    const uint32_t other = __shfl_xor_sync(kOnes, bits, 4 * s);
    const bool is_upper = (g & s) != 0;
    const uint32_t moved = is_upper ? other >> s : other << s, from_other = is_upper ? low[step] : ~low[step];
    bits = (moved & from_other) | (bits & ~from_other);
  }
  return bits;
}

// Activations of 32 units and 32 rows: `decide(unit, place, v)` has those of a unit, bit 2 j + e that of
// row 8 j + 2 q + e.  They are written as a word of each row, thread 4 (2 j + e) + q that of this one.
template <class Decide>
__device__ void write_activations(const CudaLayer& layer, int64_t position, int64_t first_unit,
                                  const Group& group, const Sums& sums, const Decide& decide) {
  const int lane = static_cast<int>(threadIdx.x) % 32, g = lane / 4;
  uint32_t bits = 0;
#pragma unroll
  for (int part = 0; part < 4; ++part) {
    const int64_t unit = first_unit + 8 * part + g;
    int32_t v[8];
#pragma unroll
    for (int i = 0; i < 8; ++i) v[i] = sums.value(part / 2, part % 2, i / 2, i % 2, layer.is_number != 0);
    if (unit < layer.units) bits |= decide(unit, 8 * part + g, v) << 8 * part;
  }
  __syncwarp();
  const uint32_t word = transposed(bits, g);
  const int row = 8 * (g / 2) + 2 * (lane % 4) + g % 2;
  if (group.has(row)) {
    const int64_t at = position * layer.num_rows + group.begin + row;
    layer.activations[at * layer.activation_words + first_unit / 32] = word;
  }
}

// All of the layer that is a block's: its units in its draw, and every gridDim.z-th 8 groups of rows.
template <class Finish>
__device__ void run_layer(const CudaLayer& layer, const Finish& finish) {
  alignas(16) __shared__ uint32_t stage[kStageChunks * kChunkTile];
  const int64_t first_unit = int64_t{kTileUnits} * blockIdx.x, position = blockIdx.y;
  const int64_t chunks = (layer.inputs + 32 * kChunkWords - 1) / (32 * kChunkWords);
  const int64_t groups = num_groups(layer);
  const int64_t warp = static_cast<int64_t>(threadIdx.x) / 32;
  bool is_filled = false;
  for (int64_t begin = int64_t{kWarps} * blockIdx.z; begin < groups; begin += int64_t{kWarps} * gridDim.z) {
    Sums sums;
    sums.clear();
    const Group group(layer, begin + warp);
    for (int64_t first = 0; first < chunks; first += kStageChunks) {
      const int64_t number = chunks - first < kStageChunks ? chunks - first : kStageChunks;
      if (!is_filled) {
        __syncthreads();  // of the last stage nothing is read any more
        fill_stage(layer, position, first_unit, first, number, stage);
        __syncthreads();
      }
      is_filled = chunks <= kStageChunks;
      if (begin + warp < groups) add_stage(layer, position, group, first, number, stage, sums);
    }
    if (begin + warp < groups) finish(position, first_unit, group, sums);
  }
}

}  // namespace

#endif  // BSBN_CUDA_LAYER_CUH
