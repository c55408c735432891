// Uniforms with ordinary arithmetic, one counter at a time.
#include "../uniform_blocks.h"

namespace {

struct Words {
  static constexpr int lanes = 1;
  uint32_t x;

  static Words broadcast(uint32_t value) { return {value}; }
  static Words count(uint64_t first, int shift) { return {static_cast<uint32_t>(first >> shift)}; }
  static void multiply(uint32_t m, Words value, Words* high, Words* low) {
    const uint64_t product = uint64_t{m} * value.x;
    high->x = static_cast<uint32_t>(product >> 32);
    low->x = static_cast<uint32_t>(product);
  }
  static Words combine(Words a, Words b, Words c) { return {a.x ^ b.x ^ c.x}; }
  void store(uint32_t* target) const { *target = x; }
};

}  // namespace

const bsbn::UniformKernels bsbn::uniforms_portable = {BSBN_PORTABLE, fill<Words>};
