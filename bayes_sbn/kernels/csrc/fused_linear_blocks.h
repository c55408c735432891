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

namespace {

// Signs or logits of a block without noise.
template <class Lanes>
void run_without_noise(const bsbn::FusedWork& fused, int64_t block, int64_t first_row, int64_t num_rows,
                       const Rows& rows, uint32_t* weights) {
  const bsbn_ensemble_layer& layer = fused.layer;
  const int64_t first_unit = block * kLanes;
  const Lanes lanes(Key{0, 0}, 0, static_cast<uint32_t>(first_unit));
  Units units;
  units.inputs = layer.inputs;
  units.magnitude = fused.ensemble.magnitude;
  units.counts_mismatches = rows.packed != nullptr;
  units.number = static_cast<int>(layer.units - first_unit < kLanes ? layer.units - first_unit : kLanes);
  for (int lane = 0; lane < kLanes; ++lane) {
    units.scale[lane] = lane < units.number ? layer.scale[first_unit + lane] : 0.0;
    units.bias[lane] = lane < units.number ? layer.bias[first_unit + lane] : 0.0;
  }
  load_weights(layer, 0, first_unit, units.number, weights);
  Bounds bounds;
  if (fused.kind == bsbn::kSigns) {
    const int64_t reach = layer.inputs * fused.ensemble.largest_input;
    const int64_t most = units.counts_mismatches ? layer.inputs : reach;
    find_sign_bounds(units, units.counts_mismatches ? 0 : -most, most, &bounds);
  }
  const uint32_t there = (1u << units.number) - 1;
  const bool ends = first_unit + kLanes >= layer.units;
  alignas(64) Values v;
  for (int64_t row = 0; row < num_rows; row += kRows) {
    const int number = static_cast<int>(num_rows - row < kRows ? num_rows - row : kRows);
    see_group(lanes, weights, layer, rows, row, number, v);
    for (int r = 0; r < number; ++r) {
      if (fused.kind == bsbn::kSigns) {
        write_units(rows, row + r, block, ends, (Lanes::at_most(bounds, v[r]) ^ bounds.flips) & there);
        continue;
      }
      double* const logits =
          static_cast<double*>(fused.result) + (first_row + row + r) * layer.units + first_unit;
      for (int lane = 0; lane < units.number; ++lane) {
        const double product = units.scale[lane] * static_cast<double>(units.dot(v[r][lane]));
        logits[lane] = product + units.bias[lane];
      }
    }
  }
}

template <class Lanes>
void run_slice(const bsbn::FusedWork& fused, uint8_t* scratch, int64_t slice, int64_t first_block,
               int64_t last_block) {
  uint32_t* const weights = reinterpret_cast<uint32_t*>(scratch + fused.ensemble.scratch.weights);
  Tie* const ties = reinterpret_cast<Tie*>(scratch + fused.ensemble.scratch.ties);
  const bsbn_ensemble_layer& layer = fused.layer;
  const int64_t first_row = slice * fused.rows_of_slice, left = fused.args.rows - first_row;
  const int64_t words = (layer.inputs + 31) / 32, upper_words = (layer.units + 31) / 32;
  const bool has_words = fused.kind == bsbn::kDrawnSigns || fused.kind == bsbn::kSigns;
  const bool is_packed = fused.ensemble.packed != nullptr;
  bsbn_ensemble_args args = fused.args;
  args.rows = left < fused.rows_of_slice ? left : fused.rows_of_slice;
  args.first_row += first_row;
  args.dots = fused.kind == bsbn::kDots ? args.dots + first_row * layer.units : nullptr;
  bsbn::EnsembleWork work = fused.ensemble;
  work.args = &args;
  const Rows rows{is_packed ? work.packed + first_row * words : nullptr,
                  is_packed ? nullptr : args.inputs + first_row * layer.inputs, words,
                  has_words ? static_cast<uint8_t*>(fused.result) + 4 * first_row * upper_words : nullptr,
                  4 * upper_words};
  if (fused.kind == bsbn::kDrawnSigns || fused.kind == bsbn::kDots) {
    run_layer<Lanes>(&work, 0, fused.kind == bsbn::kDots, 0, rows, first_block, last_block, weights, ties);
    return;
  }
  for (int64_t block = first_block; block < last_block; ++block) {
    run_without_noise<Lanes>(fused, block, first_row, args.rows, rows, weights);
  }
}

template <class Lanes>
void run_fused(const bsbn::FusedWork* fused, uint8_t* scratch, int64_t first, int64_t last) {
  const int64_t blocks = (fused->layer.units + kLanes - 1) / kLanes;
  for (int64_t part = first; part < last;) {
    const int64_t block = part % blocks, end = blocks - block < last - part ? blocks : block + last - part;
    run_slice<Lanes>(*fused, scratch, part / blocks, block, end);
    part += end - block;
  }
}

}  // namespace

#endif  // BSBN_FUSED_LINEAR_BLOCKS_H
