// Flip kernels with AVX-512: the sign in a mask register; in float32 the quotient by an approximate
// reciprocal and one step of Newton's method, to about one unit in the last place.
#include <immintrin.h>

#include "../flips_rows.h"

namespace {

struct Singles {
  typedef float Number;
  typedef __m512 Vector;
  typedef int32_t Bits __attribute__((vector_size(64)));
  static constexpr int kWidth = 16;
  static constexpr int kRows = 4;

  static Vector load(const float* from) { return _mm512_loadu_ps(from); }
  static void store(float* to, Vector v) { _mm512_storeu_ps(to, v); }
  static Vector broadcast(float value) { return _mm512_set1_ps(value); }
  static Vector flip(Vector v, Vector signs) { return _mm512_xor_ps(v, signs); }
  static Vector sign(Vector v) { return _mm512_and_ps(_mm512_set1_ps(-0.0f), v); }
  static Vector choose(Vector v, Vector plus, Vector minus) {
    return _mm512_mask_blend_ps(_mm512_movepi32_mask(_mm512_castps_si512(v)), plus, minus);
  }
  static Vector absolute(Vector v) { return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), v); }
  static Vector largest(Vector v, Vector w) { return _mm512_max_ps(v, w); }
  static Vector least(Vector v, Vector w) { return _mm512_min_ps(v, w); }
  static Vector multiply_add(Vector v, Vector w, Vector z) { return _mm512_fmadd_ps(v, w, z); }
  static Vector add_quotient(Vector sum, Vector numerator, Vector denominator) {
    const Vector near = _mm512_rcp14_ps(denominator);
    const Vector error = _mm512_fnmadd_ps(denominator, near, _mm512_set1_ps(1));
    return _mm512_fmadd_ps(numerator, _mm512_fmadd_ps(near, error, near), sum);
  }
};

struct Doubles {
  typedef double Number;
  typedef __m512d Vector;
  typedef int64_t Bits __attribute__((vector_size(64)));
  static constexpr int kWidth = 8;
  static constexpr int kRows = 4;

  static Vector load(const double* from) { return _mm512_loadu_pd(from); }
  static void store(double* to, Vector v) { _mm512_storeu_pd(to, v); }
  static Vector broadcast(double value) { return _mm512_set1_pd(value); }
  static Vector flip(Vector v, Vector signs) { return _mm512_xor_pd(v, signs); }
  static Vector sign(Vector v) { return _mm512_and_pd(_mm512_set1_pd(-0.0), v); }
  static Vector choose(Vector v, Vector plus, Vector minus) {
    return _mm512_mask_blend_pd(_mm512_movepi64_mask(_mm512_castpd_si512(v)), plus, minus);
  }
  static Vector absolute(Vector v) { return _mm512_andnot_pd(_mm512_set1_pd(-0.0), v); }
  static Vector largest(Vector v, Vector w) { return _mm512_max_pd(v, w); }
  static Vector least(Vector v, Vector w) { return _mm512_min_pd(v, w); }
  static Vector multiply_add(Vector v, Vector w, Vector z) { return _mm512_fmadd_pd(v, w, z); }
  static Vector add_quotient(Vector sum, Vector numerator, Vector denominator) {
    return _mm512_add_pd(sum, _mm512_div_pd(numerator, denominator));
  }
};

}  // namespace

const bsbn::FlipKernels bsbn::flips_avx512 = {BSBN_AVX512, sums_any<Singles, Doubles>};
