// How many of the operations that the kernels consist of a multiprocessor does in a clock.
//
// A block for each multiprocessor; every thread repeats one thing on operands of its own, and the first
// of a block counts the clocks.  `sink` keeps the results alive.
#include "weights.cuh"

struct RateArguments {
  int64_t* clocks;  // of each block
  uint32_t* sink;   // a word of each thread
  int64_t turns;
  CudaLayer layer;  // whose weights are drawn
};

namespace {

constexpr int kChains = 8;  // independent of each other

template <class Turn>
__device__ void count(const RateArguments& args, const Turn& turn) {
  uint32_t state[kChains];
  const int64_t thread = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  for (int chain = 0; chain < kChains; ++chain) state[chain] = static_cast<uint32_t>(thread + chain);
  __syncthreads();
  const int64_t start = clock64();
#pragma unroll 1
  for (int64_t i = 0; i < args.turns; ++i) turn(state, i);
  __syncthreads();
  const int64_t stop = clock64();
  uint32_t all = 0;
  for (int chain = 0; chain < kChains; ++chain) all ^= state[chain];
  args.sink[thread] = all;
  if (threadIdx.x == 0) args.clocks[blockIdx.x] = stop - start;
}

}  // namespace

extern "C" {

// Two products of 16 x 8 x 256 bits by each warp.
__global__ void __launch_bounds__(1024) rate_products(const __grid_constant__ RateArguments args) {
  count(args, [](uint32_t(&x)[kChains], int64_t) {
    uint32_t first[4] = {x[0], x[1], x[2], x[3]}, second[4] = {x[4], x[5], x[6], x[7]};
    const uint32_t a[4] = {kOnes, kOnes, kOnes, kOnes};
    multiply(first, a, x[0], x[1]);
    multiply(second, a, x[4], x[5]);
    for (int i = 0; i < 4; ++i) {
      x[i] = first[i];
      x[4 + i] = second[i];
    }
  });
}

// Eight counts of the bits of a word by each thread.
__global__ void __launch_bounds__(1024) rate_popcounts(const __grid_constant__ RateArguments args) {
  count(args, [](uint32_t(&x)[kChains], int64_t) {
    for (int i = 0; i < kChains; ++i) x[i] = static_cast<uint32_t>(__popc(static_cast<int>(x[i])));
  });
}

// Eight random words by each thread.
__global__ void __launch_bounds__(1024) rate_random_words(const __grid_constant__ RateArguments args) {
  count(args, [](uint32_t(&x)[kChains], int64_t i) {
    for (uint32_t half = 0; half < 2; ++half) {
      uint32_t w[4];
      philox(static_cast<uint32_t>(i), threadIdx.x, blockIdx.x, half, Key{1, 2}, w);
      for (int j = 0; j < 4; ++j) x[4 * half + j] ^= w[j];
    }
  });
}

// 32 weights by each thread, drawn from the planes of a layer.
__global__ void __launch_bounds__(1024) rate_weights(const __grid_constant__ RateArguments args) {
  const int64_t words = (args.layer.inputs + 31) / 32;
  count(args, [&](uint32_t(&x)[kChains], int64_t i) {
    const int64_t thread = static_cast<int64_t>(threadIdx.x);
    const int64_t unit = thread % args.layer.units, word = (thread / args.layer.units + i) % words;
    x[0] ^= drawn_word(args.layer, static_cast<uint32_t>(blockIdx.x + i), unit, word, kOnes);
  });
}

}  // extern "C"
