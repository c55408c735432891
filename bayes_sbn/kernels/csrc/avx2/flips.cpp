// Flip kernels with AVX2: the sign chooses by blendv; in float32 the quotient by an approximate
// reciprocal and one step of Newton's method, to about two units in the last place.
#include <immintrin.h>

#include "../flips_rows.h"

namespace {

struct Singles {
  typedef float Number;
  typedef __m256 Vector;
  typedef int32_t Bits __attribute__((vector_size(32)));
  static constexpr int kWidth = 8;
  static constexpr int kRows = 4;

  static Vector load(const float* from) { return _mm256_loadu_ps(from); }
  static void store(float* to, Vector v) { _mm256_storeu_ps(to, v); }
  static Vector broadcast(float value) { return _mm256_set1_ps(value); }
  static Vector flip(Vector v, Vector signs) { return _mm256_xor_ps(v, signs); }
  static Vector sign(Vector v) { return _mm256_and_ps(_mm256_set1_ps(-0.0f), v); }
  static Vector choose(Vector v, Vector plus, Vector minus) {
    return _mm256_blendv_ps(plus, minus, v);
  }
  static Vector absolute(Vector v) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), v); }
  static Vector largest(Vector v, Vector w) { return _mm256_max_ps(v, w); }
  static Vector least(Vector v, Vector w) { return _mm256_min_ps(v, w); }
  static Vector multiply_add(Vector v, Vector w, Vector z) { return _mm256_fmadd_ps(v, w, z); }
  static Vector add_quotient(Vector sum, Vector numerator, Vector denominator) {
    const Vector near = _mm256_rcp_ps(denominator);
    const Vector error = _mm256_fnmadd_ps(denominator, near, _mm256_set1_ps(1));
    return _mm256_fmadd_ps(numerator, _mm256_fmadd_ps(near, error, near), sum);
  }
};

struct Doubles {
  typedef double Number;
  typedef __m256d Vector;
  typedef int64_t Bits __attribute__((vector_size(32)));
  static constexpr int kWidth = 4;
  static constexpr int kRows = 4;

  static Vector load(const double* from) { return _mm256_loadu_pd(from); }
  static void store(double* to, Vector v) { _mm256_storeu_pd(to, v); }
  static Vector broadcast(double value) { return _mm256_set1_pd(value); }
  static Vector flip(Vector v, Vector signs) { return _mm256_xor_pd(v, signs); }
  static Vector sign(Vector v) { return _mm256_and_pd(_mm256_set1_pd(-0.0), v); }
  static Vector choose(Vector v, Vector plus, Vector minus) {
    return _mm256_blendv_pd(plus, minus, v);
  }
  static Vector absolute(Vector v) { return _mm256_andnot_pd(_mm256_set1_pd(-0.0), v); }
  static Vector largest(Vector v, Vector w) { return _mm256_max_pd(v, w); }
  static Vector least(Vector v, Vector w) { return _mm256_min_pd(v, w); }
  static Vector multiply_add(Vector v, Vector w, Vector z) { return _mm256_fmadd_pd(v, w, z); }
  static Vector add_quotient(Vector sum, Vector numerator, Vector denominator) {
    return _mm256_add_pd(sum, _mm256_div_pd(numerator, denominator));
  }
};

}  // namespace

const bsbn::FlipKernels bsbn::flips_avx2 = {BSBN_AVX2, sums_any<Singles, Doubles>};
