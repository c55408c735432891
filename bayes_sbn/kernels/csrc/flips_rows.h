// The loops over rows, terms and columns that all flip kernels share, and the laws of the noise.
//
// Included by the files of every instruction set, hence everything is in the anonymous namespace; see
// packing_rows.h.  Such a file supplies, for each type of numbers, a `struct Lanes` with
//     Number, Vector, Bits        a number; kWidth of them, with the operators of arithmetic; integers
//                                 of their size
//     kRows                       how many rows of two vectors fit into registers as sums
//     load, store, broadcast      to and from memory
//     flip(v, signs)              v with its sign changed where `signs` is -0 and not +0
//     sign(v)                     +0 or -0, by the sign of v
//     choose(v, plus, minus)      minus where v is negative, else plus; v is not 0
//     absolute, largest, least    of vectors
//     multiply_add(a, b, c)       a * b + c, rounded once or twice
//     add_quotient(sum, n, d)     sum + n / d
#ifndef BSBN_FLIPS_ROWS_H
#define BSBN_FLIPS_ROWS_H

#include <cstdint>

#include "flip_laws.h"
#include "flips.h"

namespace {

// Terms are taken in blocks whose steps stay in the second cache.
constexpr int64_t kTerms = 256;
constexpr int kVectors = 2;

// Not std::min and std::fill: a function template of the library may become a weak symbol.
inline int64_t smaller(int64_t first, int64_t second) { return first < second ? first : second; }

template <class Number>
inline void fill(Number* to, int64_t count, Number value) {
  for (int64_t i = 0; i < count; ++i) to[i] = value;
}

// One row-major matrix of each kind, of one place in the batch.
template <class Number>
struct Matrices {
  const Number* steps;  // (terms, columns)
  const Number* left;   // (rows, terms)
  const Number* right;
  const Number* gain;
  const Number* scale;  // (rows)
  const Number* signs;  // (rows, columns)
  Number* sums;
  int64_t rows, terms, columns;
};

template <class Number>
Matrices<Number> matrices_at(const bsbn_flip_sums_args* args, int64_t batch) {
  const int64_t of_terms = batch * args->rows * args->terms;
  const int64_t of_columns = batch * args->rows * args->columns;
  const int64_t of_steps = args->step_batch == 1 ? 0 : batch * args->terms * args->columns;
  return {static_cast<const Number*>(args->steps) + of_steps,
          static_cast<const Number*>(args->left) + of_terms,
          static_cast<const Number*>(args->right) + of_terms,
          static_cast<const Number*>(args->gain) + of_terms,
          static_cast<const Number*>(args->scale) + batch * args->rows,
          static_cast<const Number*>(args->signs) + of_columns,
          static_cast<Number*>(args->sums) + of_columns,
          args->rows,
          args->terms,
          args->columns};
}

// Adds a block of terms, all but the factor x of each, to kRows rows of sums of one strip of columns.
template <class Lanes, class Law, int kRows>
void add_terms(const Matrices<typename Lanes::Number>& m, int64_t row, int64_t first, int64_t terms,
               const typename Lanes::Number* steps, const typename Lanes::Number* signs,
               typename Lanes::Number* sums) {
  typedef typename Lanes::Number Number;
  typedef typename Lanes::Vector Vector;
  constexpr int kColumns = kVectors * Lanes::kWidth;
  const Number* left = m.left + row * m.terms + first;
  const Number* right = m.right + row * m.terms + first;
  const Number* gain = m.gain + row * m.terms + first;
  Vector sum[kRows][kVectors];
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) {
      sum[r][v] = Lanes::load(sums + r * kColumns + v * Lanes::kWidth);
    }
  }
  for (int64_t k = 0; k < terms; ++k) {
    Vector step[kVectors];
    for (int v = 0; v < kVectors; ++v) {
      step[v] = Lanes::load(steps + k * kColumns + v * Lanes::kWidth);
    }
    for (int r = 0; r < kRows; ++r) {
      const Law law(left[r * m.terms + k], right[r * m.terms + k], gain[r * m.terms + k],
                    m.scale[row + r]);
      for (int v = 0; v < kVectors; ++v) {
        const Vector flipped =
            Lanes::flip(step[v], Lanes::load(signs + r * kColumns + v * Lanes::kWidth));
        sum[r][v] = law.add(sum[r][v], flipped);
      }
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) {
      Lanes::store(sums + r * kColumns + v * Lanes::kWidth, sum[r][v]);
    }
  }
}

// All rows of one strip of at most two vectors of columns.
template <class Lanes, class Law>
void sum_strip(const Matrices<typename Lanes::Number>& m, int64_t first_column, int64_t count) {
  typedef typename Lanes::Number Number;
  constexpr int kRows = Law::kIsLight ? Lanes::kRows : 2;
  constexpr int kColumns = kVectors * Lanes::kWidth;
  alignas(64) Number steps[kTerms * kColumns];
  alignas(64) Number signs[kRows * kColumns];
  alignas(64) Number sums[kRows * kColumns];
  // The columns that only fill the strip up have terms like any other and are not stored.
  fill(signs, kRows * kColumns, Number(0));
  fill(sums, kRows * kColumns, Number(0));
  fill(steps, kTerms * kColumns, Number(1));
  for (int64_t first = 0; first == 0 || first < m.terms; first += kTerms) {
    const int64_t terms = smaller(kTerms, m.terms - first);
    for (int64_t k = 0; k < terms; ++k) {
      const Number* row = m.steps + (first + k) * m.columns + first_column;
      for (int64_t i = 0; i < count; ++i) steps[k * kColumns + i] = row[i];
    }
    for (int64_t row = 0; row < m.rows;) {
      const int64_t rows = m.rows - row < kRows ? 1 : kRows;
      for (int64_t r = 0; r < rows; ++r) {
        const Number* x = m.signs + (row + r) * m.columns + first_column;
        const Number* before = m.sums + (row + r) * m.columns + first_column;
        for (int64_t i = 0; i < count; ++i) {
          signs[r * kColumns + i] = x[i] < 0 ? Number(-0.0) : Number(0);
          sums[r * kColumns + i] = first == 0 ? Number(0) : before[i] * x[i];
        }
      }
      if (rows == kRows) {
        add_terms<Lanes, Law, kRows>(m, row, first, terms, steps, signs, sums);
      } else {
        add_terms<Lanes, Law, 1>(m, row, first, terms, steps, signs, sums);
      }
      for (int64_t r = 0; r < rows; ++r) {
        const Number* x = m.signs + (row + r) * m.columns + first_column;
        Number* after = m.sums + (row + r) * m.columns + first_column;
        for (int64_t i = 0; i < count; ++i) after[i] = sums[r * kColumns + i] * x[i];
      }
      row += rows;
    }
  }
}

template <class Lanes, class Law>
void sum_groups(const bsbn_flip_sums_args* args, int64_t first, int64_t last) {
  constexpr int64_t kColumns = kVectors * Lanes::kWidth;
  const int64_t groups = (args->columns + bsbn::kFlipColumns - 1) / bsbn::kFlipColumns;
  for (int64_t group = first; group < last; ++group) {
    const auto matrices = matrices_at<typename Lanes::Number>(args, group / groups);
    const int64_t begin = group % groups * bsbn::kFlipColumns;
    const int64_t end = smaller(begin + bsbn::kFlipColumns, args->columns);
    for (int64_t column = begin; column < end; column += kColumns) {
      sum_strip<Lanes, Law>(matrices, column, smaller(kColumns, end - column));
    }
  }
}

template <class Lanes>
void sums_of_law(const bsbn_flip_sums_args* args, int64_t first, int64_t last) {
  switch (args->law) {
    case BSBN_LOGISTIC:
      return sum_groups<Lanes, LogisticLaw<Lanes>>(args, first, last);
    case BSBN_SCALED_LOGISTIC:
      return sum_groups<Lanes, ScaledLogisticLaw<Lanes>>(args, first, last);
    case BSBN_LAPLACE:
      return sum_groups<Lanes, LaplaceLaw<Lanes>>(args, first, last);
    case BSBN_GAUSSIAN:
      return sum_groups<Lanes, GaussianLaw<Lanes>>(args, first, last);
    case BSBN_UNIFORM:
      return sum_groups<Lanes, UniformLaw<Lanes>>(args, first, last);
    default:
      return sum_groups<Lanes, TriangularLaw<Lanes>>(args, first, last);
  }
}

template <class Singles, class Doubles>
void sums_any(const bsbn_flip_sums_args* args, int64_t first, int64_t last) {
  if (args->value_type == BSBN_FLOAT32) {
    sums_of_law<Singles>(args, first, last);
  } else {
    sums_of_law<Doubles>(args, first, last);
  }
}

}  // namespace

#endif  // BSBN_FLIPS_ROWS_H
