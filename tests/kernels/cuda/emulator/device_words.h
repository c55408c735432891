// The words of CUDA C++ that the kernels use, for an ordinary compiler: included before their source.
//
// Threads of a block are fibers (blocks.cpp); blocks run one after the other, so that shared memory is
// static.  Exchanges and products of a warp are computed when all of its 32 threads have come to them.
#ifndef DEVICE_WORDS_H
#define DEVICE_WORDS_H

#include <cmath>
#include <cstdint>
#include <cstring>

#define BSBN_EMULATED 1
#define __global__
#define __device__
#define __shared__ static
#define __grid_constant__
#define __launch_bounds__(...)
#define __noinline__

struct Dim {
  uint32_t x, y, z;
};
extern Dim threadIdx, blockIdx, blockDim, gridDim;

struct alignas(8) uint2 {
  uint32_t x, y;
};
struct alignas(16) uint4 {
  uint32_t x, y, z, w;
};

inline int __ffs(int bits) { return __builtin_ffs(bits); }
inline int __popc(int bits) { return __builtin_popcount(static_cast<unsigned>(bits)); }
inline int64_t clock64() {
  static int64_t now = 0;
  return ++now;
}

void __syncthreads();
void __syncwarp();
uint32_t __shfl_xor_sync(uint32_t mask, uint32_t value, int lanes);
void emulate_mma_and_popc(uint32_t (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1);

#endif  // DEVICE_WORDS_H
