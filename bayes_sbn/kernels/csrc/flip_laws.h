// One term of a sum of flips, for each law of the noise: included by flips_rows.h.
//
// A law is made from the numbers of a row and a term, see bsbn_flip_sums in bsbn.h, and adds
// g x [F(a | x = +1) - F(a | x = -1)] for a vector of y = x * step.  What it adds is
// g (F(a) - F(a - 2 s y)), where a contains s y.
#ifndef BSBN_FLIP_LAWS_H
#define BSBN_FLIP_LAWS_H

#include <cstdint>

namespace {

constexpr double kInverseFactorials[] = {1.0,           1.0,          1.0 / 2,        1.0 / 6,
                                         1.0 / 24,      1.0 / 120,    1.0 / 720,      1.0 / 5040,
                                         1.0 / 40320,   1.0 / 362880, 1.0 / 3628800,  1.0 / 39916800,
                                         1.0 / 479001600, 1.0 / 6227020800.0};

template <class Number>
struct Exponential;  // the constants of e^t

template <>
struct Exponential<float> {
  static constexpr int kMantissa = 23;
  static constexpr int kDegree = 7;  // Taylor: below 2e-8 relative where |r| <= ln(2) / 2
  static constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  static constexpr float kLog2 = 0.693359375f;  // ln 2 in two parts, the first of few digits
  static constexpr float kLog2Rest = -2.12194440e-4f;
  static constexpr float kLowest = -80.0f;  // below this, e^t is no longer told from 0
};

template <>
struct Exponential<double> {
  static constexpr int kMantissa = 52;
  static constexpr int kDegree = 13;  // below 2e-17
  static constexpr double kRound = 6755399441055744.0;
  static constexpr double kLog2 = 0.693145751953125;
  static constexpr double kLog2Rest = 1.42860682030941723212e-6;
  static constexpr double kLowest = -700.0;
};

// e^t = power + rest for kLowest <= t <= 0, where power = 2^k and rest = 2^k (e^r - 1): for small t
// the power is 1 and the rest is accurate relative to t.
template <class Lanes>
struct ExponentialParts {
  typename Lanes::Vector power, rest;

  explicit ExponentialParts(typename Lanes::Vector t) {
    typedef typename Lanes::Number Number;
    typedef typename Lanes::Vector Vector;
    typedef typename Lanes::Bits Bits;
    typedef Exponential<Number> Constants;
    const Vector round = Lanes::broadcast(Constants::kRound);
    const Vector shifted =
        Lanes::multiply_add(t, Lanes::broadcast(Number(1.44269504088896340736)), round);
    const Vector k = shifted - round;
    Vector r = Lanes::multiply_add(k, Lanes::broadcast(-Constants::kLog2), t);
    r = Lanes::multiply_add(k, Lanes::broadcast(-Constants::kLog2Rest), r);
    // (e^r - 1) / r = 1 + r / 2! + r^2 / 3! + ...
    Vector series = Lanes::broadcast(Number(kInverseFactorials[Constants::kDegree]));
    for (int degree = Constants::kDegree - 1; degree > 0; --degree) {
      series = Lanes::multiply_add(series, r, Lanes::broadcast(Number(kInverseFactorials[degree])));
    }
    power = (Vector)(((Bits)shifted << Constants::kMantissa) + (Bits)Lanes::broadcast(1));
    rest = power * (r * series);
  }
};

// The steps are m = sign(c) / (e^{2|c|} - 1): each term is one division, F'(a) / (m + F(-a)) where
// y > 0 and F'(a) / (m - F(a)) where y < 0.  Neither denominator cancels.
template <class Lanes>
struct LogisticLaw {
  typedef typename Lanes::Number Number;
  typedef typename Lanes::Vector Vector;
  static constexpr bool kIsLight = true;
  Vector plus, minus, gain;

  LogisticLaw(Number lower, Number upper, Number gain_of_term, Number)
      : plus(Lanes::broadcast(lower)),
        minus(-Lanes::broadcast(upper)),
        gain(Lanes::broadcast(gain_of_term)) {}

  Vector add(Vector sum, Vector y) const {
    return Lanes::add_quotient(sum, gain, y + Lanes::choose(y, plus, minus));
  }
};

// The same with q = e^{-2|s c|} evaluated here: F'(a) (1 - q) / (q + (1 - q) F(-+ a)).
template <class Lanes>
struct ScaledLogisticLaw {
  typedef typename Lanes::Number Number;
  typedef typename Lanes::Vector Vector;
  static constexpr bool kIsLight = false;
  Vector plus, minus, gain, scale;

  ScaledLogisticLaw(Number lower, Number upper, Number gain_of_term, Number scale_of_row)
      : plus(Lanes::broadcast(lower)),
        minus(Lanes::broadcast(upper)),
        gain(Lanes::broadcast(gain_of_term)),
        scale(Lanes::broadcast(2 * scale_of_row)) {}

  Vector add(Vector sum, Vector y) const {
    const Vector step = scale * y;
    const ExponentialParts<Lanes> q(-Lanes::absolute(step));
    const Vector height = (Lanes::broadcast(1) - q.power) - q.rest;
    const Vector side = Lanes::choose(step, plus, minus);
    return Lanes::add_quotient(sum, gain * Lanes::flip(height, Lanes::sign(step)),
                               Lanes::multiply_add(height, side, q.power + q.rest));
  }
};

// Laws whose F is evaluated at the other state, b = a - 2 s y.  M is F - 1/2.
template <class Lanes>
struct OtherState {
  typedef typename Lanes::Number Number;
  typedef typename Lanes::Vector Vector;
  Vector a, middle, gain, scale;

  OtherState(Number a_of_term, Number middle_of_a, Number gain_of_term, Number scale_of_row)
      : a(Lanes::broadcast(a_of_term)),
        middle(Lanes::broadcast(middle_of_a)),
        gain(Lanes::broadcast(gain_of_term)),
        scale(Lanes::broadcast(-2 * scale_of_row)) {}

  Vector other(Vector y) const { return Lanes::multiply_add(scale, y, a); }
  Vector add_from(Vector sum, Vector middle_of_other) const {
    return Lanes::multiply_add(gain, middle - middle_of_other, sum);
  }
  static Vector clamped(Vector b) {
    return Lanes::largest(Lanes::least(b, Lanes::broadcast(1)), Lanes::broadcast(-1));
  }
};

template <class Lanes>
struct LaplaceLaw : OtherState<Lanes> {
  typedef typename Lanes::Vector Vector;
  static constexpr bool kIsLight = false;
  using OtherState<Lanes>::OtherState;

  Vector add(Vector sum, Vector y) const {
    typedef typename Lanes::Number Number;
    const Vector b = this->other(y);
    const ExponentialParts<Lanes> e(
        Lanes::largest(-Lanes::absolute(b), Lanes::broadcast(Exponential<Number>::kLowest)));
    const Vector height = (Lanes::broadcast(1) - e.power) - e.rest;
    return this->add_from(sum, Lanes::broadcast(Number(0.5)) * Lanes::flip(height, Lanes::sign(b)));
  }
};

// erfc(z / sqrt 2) e^{z^2 / 2} / 2 as a polynomial in t = (z - 4) / (z + 4) for 0 <= z <= 9: the
// interpolant at the Chebyshev points.  Times e^{-z^2 / 2} its error is below 4e-10 and 1e-17.
constexpr float kTail32[] = {0.09441064129653665f,    -0.17039772078121912f,  0.1243792638032335f,
                             -0.07170743227375745f,   0.030864435965763742f,  -0.008492255719547254f,
                             0.0005115455201312799f,  0.0006456948252909496f, -0.00019603849856466147f,
                             -7.843832960846278e-05f};
constexpr double kTail64[] = {
    0.09441064130196893,    -0.17039772154845528,   0.12437925533926529,    -0.07170740733775924,
    0.030864804106156017,   -0.008492095481194485,  0.0005075620809383063,  0.0006388138383609911,
    -0.0001871843756858211, -4.555486389164254e-05, 2.864931039890954e-05,  4.6325253120192755e-06,
    -4.30741974985475e-06,  -8.380974746513428e-07, 6.629505710666969e-07,  2.2850318057681788e-07,
    -7.016987425275502e-08, -5.3706282309170575e-08, -9.292192619674577e-09};

template <class Lanes, int kSize>
typename Lanes::Vector polynomial(const typename Lanes::Number (&coefficients)[kSize],
                                  typename Lanes::Vector t) {
  typename Lanes::Vector sum = Lanes::broadcast(coefficients[kSize - 1]);
  for (int i = kSize - 2; i >= 0; --i) {
    sum = Lanes::multiply_add(sum, t, Lanes::broadcast(coefficients[i]));
  }
  return sum;
}

template <class Lanes>
struct GaussianLaw : OtherState<Lanes> {
  typedef typename Lanes::Number Number;
  typedef typename Lanes::Vector Vector;
  static constexpr bool kIsLight = false;
  using OtherState<Lanes>::OtherState;

  static Vector tail(Vector t, float) { return polynomial<Lanes>(kTail32, t); }
  static Vector tail(Vector t, double) { return polynomial<Lanes>(kTail64, t); }

  Vector add(Vector sum, Vector y) const {
    const Vector b = this->other(y);
    const Vector z = Lanes::least(Lanes::absolute(b), Lanes::broadcast(9));
    const Vector t = Lanes::add_quotient(Lanes::broadcast(1), Lanes::broadcast(-8),
                                         z + Lanes::broadcast(4));
    const Vector half = Lanes::broadcast(Number(0.5));
    const ExponentialParts<Lanes> e(-half * z * z);
    const Vector beyond = (e.power + e.rest) * tail(t, Number(0));
    return this->add_from(sum, Lanes::flip(half - beyond, Lanes::sign(b)));
  }
};

template <class Lanes>
struct UniformLaw : OtherState<Lanes> {
  typedef typename Lanes::Vector Vector;
  static constexpr bool kIsLight = true;
  using OtherState<Lanes>::OtherState;

  Vector add(Vector sum, Vector y) const {
    typedef typename Lanes::Number Number;
    const Vector half = Lanes::broadcast(Number(0.5));
    return this->add_from(sum, half * this->clamped(this->other(y)));
  }
};

template <class Lanes>
struct TriangularLaw : OtherState<Lanes> {
  typedef typename Lanes::Vector Vector;
  static constexpr bool kIsLight = true;
  using OtherState<Lanes>::OtherState;

  Vector add(Vector sum, Vector y) const {
    typedef typename Lanes::Number Number;
    const Vector b = this->clamped(this->other(y));
    const Vector half = Lanes::broadcast(Number(0.5));
    return this->add_from(sum, b - half * (b * Lanes::absolute(b)));
  }
};

}  // namespace

#endif  // BSBN_FLIP_LAWS_H
