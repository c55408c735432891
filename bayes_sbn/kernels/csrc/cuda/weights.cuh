// Weights of a layer, drawn into the places in which tensor cores read them.
//
// Equal to bayes_sbn/kernels/reference/sampling.py: +1 where a 32-bit uniform is below q.  The hot
// planes of q decide all but one weight in 256; a word of 32 weights goes on, plane by plane, until
// none of its weights is open.
#ifndef BSBN_CUDA_WEIGHTS_CUH
#define BSBN_CUDA_WEIGHTS_CUH

#include "philox.h"
#include "arguments.h"
#include "tile.cuh"

namespace {

constexpr int kBlockUnits = 16, kHotPlanes = 9, kColdPlanes = 24;  // of bsbn_ensemble_layer

constexpr int kStageChunks = 8;                      // chunks of weights in shared memory at a time
constexpr int kChunkTile = kChunkWords * kTileUnits;  // words of a chunk of 32 units

__device__ inline uint32_t drawn_word(const CudaLayer& layer, uint32_t draw, int64_t unit, int64_t word,
                                      uint32_t valid) {
  const Key key{static_cast<uint32_t>(layer.key0), static_cast<uint32_t>(layer.key1)};
  const uint32_t c0 = static_cast<uint32_t>(word), c1 = static_cast<uint32_t>(unit);
  const int64_t words = (layer.inputs + 31) / 32;
  const int64_t place = unit / kBlockUnits * words + word, lane = unit % kBlockUnits;
  const uint32_t* const hot = layer.hot + place * kHotPlanes * kBlockUnits + lane;
  const uint32_t always = hot[0];
  uint32_t below = 0, open = valid & ~always;
  // from the most significant plane on, the first plane in which u and q differ decides
#pragma unroll
  for (uint32_t group = 0; group < 2; ++group) {
    uint32_t u[4];
    philox(c0, c1, draw, counter_word(layer.site, kWeights, group), key, u);
#pragma unroll
    for (uint32_t plane = 0; plane < 4; ++plane) {
      const uint32_t q = hot[(1 + 4 * group + plane) * kBlockUnits];
      below |= open & q & ~u[plane];
      open &= ~(u[plane] ^ q);
    }
  }
  const uint32_t* const cold = layer.cold + (place * kBlockUnits + lane) * kColdPlanes;
#pragma unroll 1
  for (uint32_t group = 2; group < 8 && open != 0; ++group) {
    uint32_t u[4];
    philox(c0, c1, draw, counter_word(layer.site, kWeights, group), key, u);
#pragma unroll
    for (uint32_t plane = 0; plane < 4; ++plane) {
      const uint32_t q = cold[4 * (group - 2) + plane];
      below |= open & q & ~u[plane];
      open &= ~(u[plane] ^ q);
    }
  }
  return below | always;
}

// A word of a unit's weights; what is not there is 0.
__device__ inline uint32_t weight_word(const CudaLayer& layer, int64_t position, uint32_t draw,
                                       int64_t unit, int64_t word) {
  const int64_t words = (layer.inputs + 31) / 32;
  if (unit >= layer.units || word >= words) return 0;
  const int64_t left = layer.inputs - 32 * word;
  const uint32_t valid = left >= 32 ? kOnes : (1u << left) - 1;
  if (layer.words != nullptr) {
    return layer.words[(position * layer.units + unit) * words + word] & valid;
  }
  return drawn_word(layer, draw, unit, word, valid);
}

// Weights of 32 units for the chunks of a stage: register r of thread t in product m is word
// 128 m + 4 t + r of its chunk.
__device__ inline void fill_stage(const CudaLayer& layer, int64_t position, int64_t first_unit,
                                  int64_t first_chunk, int64_t chunks, uint32_t* stage) {
  const uint32_t draw = static_cast<uint32_t>(layer.draws[position]);
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread % 32, r = thread / 32 % 4, m = thread / 128;
  const int64_t unit = first_unit + 16 * m + lane / 4 + 8 * (r % 2);
#pragma unroll 1
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const int64_t word = (first_chunk + chunk) * kChunkWords + 2 * (lane % 4) + r / 2;
    stage[chunk * kChunkTile + 128 * m + 4 * lane + r] = weight_word(layer, position, draw, unit, word);
  }
}

}  // namespace

#endif  // BSBN_CUDA_WEIGHTS_CUH
