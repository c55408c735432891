// Flip kernels in vectors of 16 bytes, which every processor has or the compiler splits.
#include <cstring>

#include "../flips_rows.h"

namespace {

template <class NumberType, class Integer>
struct Lanes {
  typedef NumberType Number;
  typedef NumberType Vector __attribute__((vector_size(16)));
  typedef Integer Bits __attribute__((vector_size(16)));
  static constexpr int kWidth = 16 / sizeof(Number);
  static constexpr int kRows = 2;

  static Vector load(const Number* from) {
    Vector v;
    std::memcpy(&v, from, sizeof v);
    return v;
  }
  static void store(Number* to, Vector v) { std::memcpy(to, &v, sizeof v); }
  static Vector broadcast(Number value) { return value - Vector{}; }
  static Vector select(Bits mask, Vector v, Vector w) {
    return (Vector)((mask & (Bits)v) | (~mask & (Bits)w));
  }
  static Vector flip(Vector v, Vector signs) { return (Vector)((Bits)v ^ (Bits)signs); }
  static Vector sign(Vector v) { return (Vector)((Bits)v & (Bits)broadcast(Number(-0.0))); }
  static Vector choose(Vector v, Vector plus, Vector minus) {
    return select((Bits)(v < 0), minus, plus);  // SSE2 compares doubles, but not 64-bit integers
  }
  static Vector absolute(Vector v) { return (Vector)((Bits)v & ~(Bits)broadcast(Number(-0.0))); }
  static Vector largest(Vector v, Vector w) { return select((Bits)(v > w), v, w); }
  static Vector least(Vector v, Vector w) { return select((Bits)(v < w), v, w); }
  static Vector multiply_add(Vector v, Vector w, Vector z) { return v * w + z; }
  static Vector add_quotient(Vector sum, Vector numerator, Vector denominator) {
    return sum + numerator / denominator;
  }
};

}  // namespace

const bsbn::FlipKernels bsbn::flips_portable = {BSBN_PORTABLE,
                                                sums_any<Lanes<float, int32_t>,
                                                         Lanes<double, int64_t>>};
