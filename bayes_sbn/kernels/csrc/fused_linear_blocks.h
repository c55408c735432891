// One layer alone: blocks of its units for slices of its rows.
//
// Activations are those that run_layer decides.  Without noise an activation is +1 where
// scale * dot + bias > 0, monotone in dot, hence again one bound on what a unit sees; logits are the
// same sum.
//
// Included by the files of every instruction set, hence nothing here may have external linkage.
#ifndef BSBN_FUSED_LINEAR_BLOCKS_H
#define BSBN_FUSED_LINEAR_BLOCKS_H

#include "ensemble_draws.h"
#include "word_rows.h"

namespace {

constexpr int64_t kNearCache = 1 << 20;  // bytes

// Lanes that see rows as they do and write packed words.
template <class Lanes>
class WritingWords : public Lanes {
 public:
  using Lanes::Lanes;
  static void write(const Rows& rows, int64_t row, int64_t block, bool is_last, uint32_t bits) {
    WordRows<Lanes>::write(rows, row, block, is_last, bits);
  }
};

// Signs or logits of some blocks without noise.
template <class Lanes>
void run_without_noise(const bsbn::FusedWork& fused, int64_t first_block, int blocks, int64_t first_row,
                       int64_t num_rows, const Rows& rows, uint8_t* weights) {
  const bsbn_ensemble_layer& layer = fused.layer;
  const int64_t num_blocks = (layer.units + kLanes - 1) / kLanes;
  Units units[Lanes::kBlocks];
  Bounds bounds[Lanes::kBlocks];
  for (int b = 0; b < blocks; ++b) {
    const int64_t first_unit = (first_block + b) * kLanes;
    Units& own = units[b];
    own.inputs = layer.inputs;
    own.magnitude = fused.ensemble.magnitude;
    own.counts_mismatches = rows.are_signs;
    own.number = static_cast<int>(layer.units - first_unit < kLanes ? layer.units - first_unit : kLanes);
    for (int lane = 0; lane < kLanes; ++lane) {
      own.scale[lane] = lane < own.number ? layer.scale[first_unit + lane] : 0.0;
      own.bias[lane] = lane < own.number ? layer.bias[first_unit + lane] : 0.0;
    }
    load_weights<Lanes>(layer, 0, first_unit, own.number, Lanes::words_of(weights, b, layer.inputs));
    Lanes::prepare(weights, b, layer.inputs);
    if (fused.kind != bsbn::kSigns) continue;
    const int64_t reach = layer.inputs * fused.ensemble.largest_input;
    const int64_t most = own.counts_mismatches ? layer.inputs : reach;
    find_sign_bounds(own, own.counts_mismatches ? 0 : -most, most, &bounds[b]);
  }
  Values v[Lanes::kBlocks] = {};
  for (int64_t row = 0; row < num_rows; row += kRows) {
    const int number = static_cast<int>(num_rows - row < kRows ? num_rows - row : kRows);
    Lanes::see(weights, blocks, rows, layer.inputs, row, number, 0, v);
    for (int b = 0; b < blocks; ++b) {
      const int64_t block = first_block + b;
      const uint32_t there = (1u << units[b].number) - 1;
      for (int r = 0; r < number; ++r) {
        const int32_t(&seen)[kLanes] = v[b].of[r];
        if (fused.kind == bsbn::kSigns) {
          const uint32_t bits = Lanes::at_most(bounds[b], seen) ^ bounds[b].flips;
          Lanes::write(rows, row + r, block, block + 1 == num_blocks, bits & there);
          continue;
        }
        double* const logits =
            static_cast<double*>(fused.result) + (first_row + row + r) * layer.units + block * kLanes;
        for (int lane = 0; lane < units[b].number; ++lane) {
          const double product = units[b].scale[lane] * static_cast<double>(units[b].dot(seen[lane]));
          logits[lane] = product + units[b].bias[lane];
        }
      }
    }
  }
}

template <class Lanes>
void run_slice(const bsbn::FusedWork& fused, uint8_t* scratch, int64_t slice, int64_t first_block,
               int64_t last_block) {
  const bsbn::EnsembleScratch& places = fused.ensemble.scratch;
  const bsbn_ensemble_layer& layer = fused.layer;
  const int64_t first_row = slice * fused.rows_of_slice, left = fused.args.rows - first_row;
  bsbn_ensemble_args args = fused.args;
  args.rows = left < fused.rows_of_slice ? left : fused.rows_of_slice;
  args.first_row += first_row;
  bsbn::EnsembleWork work = fused.ensemble;
  work.args = &args;
  if (work.packed != nullptr) {
    work.packed += first_row * ((layer.inputs + 31) / 32);
  } else {
    args.inputs += first_row * layer.inputs;
  }
  if (fused.kind == bsbn::kDots) args.dots += first_row * layer.units;
  Rows rows = Lanes::inputs(&work, scratch + places.inputs);
  if (fused.kind == bsbn::kDrawnSigns || fused.kind == bsbn::kSigns) {
    rows.upper_stride = (layer.units + 31) / 32 * 4;
    rows.upper = static_cast<uint8_t*>(fused.result) + first_row * rows.upper_stride;
  }
  uint8_t* const weights = scratch + places.weights;
  if (fused.kind == bsbn::kDrawnSigns || fused.kind == bsbn::kDots) {
    Tie* const ties = reinterpret_cast<Tie*>(scratch + places.ties);
    run_layer<Lanes>(&work, 0, 0, rows, first_block, last_block, weights, ties);
    return;
  }
  for (int64_t block = first_block; block < last_block; block += Lanes::kBlocks) {
    const int blocks = static_cast<int>(last_block - block < Lanes::kBlocks ? last_block - block : Lanes::kBlocks);
    run_without_noise<Lanes>(fused, block, blocks, first_row, args.rows, rows, weights);
  }
}

template <class Lanes>
void run_fused(const bsbn::FusedWork* fused, uint8_t* scratch, int64_t first, int64_t last) {
  [[maybe_unused]] const typename Lanes::Session session{};
  const int64_t blocks = (fused->layer.units + kLanes - 1) / kLanes;
  for (int64_t part = first; part < last;) {
    const int64_t block = part % blocks, end = blocks - block < last - part ? blocks : block + last - part;
    run_slice<Lanes>(*fused, scratch, part / blocks, block, end);
    part += end - block;
  }
}

// The parts of the working memory of a thread; rows that are laid out anew stay in a cache, and are read
// 32 at a time.
template <class Lanes>
void lay_out_fused(bsbn::FusedWork* fused) {
  const int64_t inputs = fused->layer.inputs, words = (inputs + 31) / 32;
  const bsbn::EnsembleWork& ensemble = fused->ensemble;
  const int64_t row_bytes = Lanes::input_row_bytes(inputs, ensemble.packed != nullptr, ensemble.largest_input);
  if (row_bytes > 0) {
    const int64_t near = kNearCache / row_bytes / kRows * kRows, least = 8 * kRows;
    const int64_t most = near > least ? near : least;
    fused->rows_of_slice = fused->rows_of_slice < most ? fused->rows_of_slice : most;
  }
  bsbn::EnsembleScratch& places = fused->ensemble.scratch;
  places.weights = 0;
  places.ties = Lanes::weight_bytes(inputs);
  places.inputs = places.ties + 128 * words + 128;  // ties are written 16 at a time
  places.bytes = places.inputs + (fused->rows_of_slice + kRows) * row_bytes + 64;
}

}  // namespace

#endif  // BSBN_FUSED_LINEAR_BLOCKS_H
