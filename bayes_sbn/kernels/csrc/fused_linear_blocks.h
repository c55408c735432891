// One layer alone: all of its units for groups of rows.
//
// Activations are those that the pipeline decides.  Without noise an activation is +1 where
// scale * dot + bias > 0, monotone in dot, hence again one bound on what a unit sees; logits are the
// same sum.
//
// Included by the files of every instruction set, hence nothing here may have external linkage.
#ifndef BSBN_FUSED_LINEAR_BLOCKS_H
#define BSBN_FUSED_LINEAR_BLOCKS_H

#include "ensemble_pipeline.h"

namespace {

constexpr int64_t kGroupsAtOnce = 32;  // whose views stay in a cache

// The bounds of +1 where scale * dot + bias > 0: of each unit the last v before the rule changes.
inline void find_sign_bounds(const Units& units, int64_t least, int64_t most, Bounds* bounds) {
  int64_t low[kLanes], high[kLanes];  // low is not beyond the change, high is
  bool rises[kLanes];
  for (int lane = 0; lane < kLanes; ++lane) {
    rises[lane] = units.counts_mismatches ? units.scale[lane] < 0.0 : !(units.scale[lane] < 0.0);
    low[lane] = least - 1;
    high[lane] = most + 1;
  }
  for (int64_t width = most - least + 2; width > 1; width -= width / 2) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const bool is_open = high[lane] - low[lane] > 1;
      const int64_t middle = is_open ? low[lane] + (high[lane] - low[lane]) / 2 : least;
      const double product = units.scale[lane] * static_cast<double>(units.dot(middle));
      const bool is_beyond = (product + units.bias[lane] > 0.0) == rises[lane];
      high[lane] = is_open && is_beyond ? middle : high[lane];
      low[lane] = is_open && !is_beyond ? middle : low[lane];
    }
  }
  bounds->flips = 0;
  for (int lane = 0; lane < kLanes; ++lane) {
    bounds->bound[lane] = static_cast<int32_t>(low[lane]);
    bounds->flips |= static_cast<uint32_t>(rises[lane]) << lane;
  }
}

// Signs or logits without noise; the first of the rows has its place in the first group.
template <class Lanes>
void run_without_noise(const bsbn::FusedWork& fused, const bsbn::EnsembleWork& work, const Rows& rows,
                       const typename Lanes::View& view, int64_t first_row, uint8_t* weights) {
  const bsbn_ensemble_layer& layer = fused.layer;
  const bsbn_ensemble_args& args = *work.args;
  const int64_t num_blocks = (layer.units + kLanes - 1) / kLanes, upper_words = (layer.units + 31) / 32;
  Rule rules[Lanes::kBlocks] = {};
  Values v[Lanes::kBlocks] = {};
  for (int64_t first = 0; first < num_blocks; first += Lanes::kBlocks) {
    const int blocks = static_cast<int>(num_blocks - first < Lanes::kBlocks ? num_blocks - first : Lanes::kBlocks);
    for (int b = 0; b < blocks; ++b) {
      Units& units = rules[b].units;
      name_units(layer, 0, (first + b) * kLanes, false, &rules[b]);
      units.magnitude = work.magnitude;
      units.counts_mismatches = rows.packed != nullptr;
      load_weights<Lanes>(layer, 0, (first + b) * kLanes, units.number, Lanes::words_of(weights, b, layer.inputs));
    }
    for (int b = 0; b < blocks; ++b) {
      Lanes::prepare(weights, b, layer.inputs);
      const int64_t most = layer.inputs * (rows.packed != nullptr ? 1 : work.largest_input);
      if (fused.kind == bsbn::kSigns) {
        find_sign_bounds(rules[b].units, rows.packed != nullptr ? 0 : -most, most, &rules[b].bounds);
      }
    }
    for (int64_t row = 0; row < args.rows;) {
      const int place = static_cast<int>((args.first_row + row) % kRows);
      const int number = static_cast<int>(args.rows - row < kRows - place ? args.rows - row : kRows - place);
      Lanes::see(weights, blocks, rows, view, layer.inputs, row, (args.first_row % kRows + row) / kRows, place, number, v,
                 [](int64_t) {});
      for (int b = 0; b < blocks; ++b) {
        const Units& units = rules[b].units;
        const int64_t block = first + b;
        for (int r = 0; r < number; ++r) {
          const int32_t(&seen)[kLanes] = v[b].of[place + r];
          const int64_t at = first_row + row + r;
          if (fused.kind == bsbn::kSigns) {
            // zeros up to the end of the word where the block is the last one
            const uint32_t bits = (Lanes::at_most(rules[b].bounds, seen) ^ rules[b].bounds.flips) & rules[b].there;
            uint8_t* const target = static_cast<uint8_t*>(fused.result) + 4 * at * upper_words + 2 * block;
            if (block % 2 == 0 && block + 1 == num_blocks) {
              std::memcpy(target, &bits, sizeof bits);
            } else {
              const uint16_t half = static_cast<uint16_t>(bits);
              std::memcpy(target, &half, sizeof half);
            }
            continue;
          }
          double* const logits = static_cast<double*>(fused.result) + at * layer.units + block * kLanes;
          for (int lane = 0; lane < units.number; ++lane) {
            const double product = units.scale[lane] * static_cast<double>(units.dot(seen[lane]));
            logits[lane] = product + units.bias[lane];
          }
        }
      }
      row += number;
    }
  }
}

template <class Lanes>
void run_groups(const bsbn::FusedWork& fused, uint8_t* scratch, int64_t first, int64_t last) {
  const bsbn::EnsembleScratch& places = fused.ensemble.scratch;
  const bsbn_ensemble_layer& layer = fused.layer;
  const int64_t place = fused.args.first_row % kRows, words = (layer.inputs + 31) / 32;
  const int64_t start = first == 0 ? 0 : first * kRows - place, end = last * kRows - place;
  bsbn_ensemble_args args = fused.args;
  args.rows = (end < fused.args.rows ? end : fused.args.rows) - start;
  args.first_row += start;
  if (fused.kind == bsbn::kDots) args.dots += start * layer.units;
  bsbn::EnsembleWork work = fused.ensemble;
  work.args = &args;
  if (work.packed != nullptr) {
    work.packed += first * words * kRows;
  } else {
    args.inputs += start * layer.inputs;
  }
  const int64_t upper_words = (layer.units + 31) / 32;
  uint32_t* const upper = reinterpret_cast<uint32_t*>(scratch + places.upper);
  const Rows rows{work.packed, upper, upper_words};
  typename Lanes::View view{};
  if (work.packed == nullptr) view = Lanes::view(args, layer.inputs, work.largest_input, scratch + places.view);
  uint8_t* const weights = scratch + places.weights;
  if (fused.kind == bsbn::kSigns || fused.kind == bsbn::kLogits) {
    run_without_noise<Lanes>(fused, work, rows, view, start, weights);
    return;
  }
  Pipeline<Lanes>(&work, 0, 0, rows, view, weights, reinterpret_cast<Tie*>(scratch + places.ties)).run();
  if (fused.kind == bsbn::kDots) return;
  for (int64_t row = 0; row < args.rows; ++row) {
    const int64_t at = args.first_row % kRows + row;
    const uint32_t* const source = upper + at / kRows * upper_words * kRows + at % kRows;
    uint32_t* const target = static_cast<uint32_t*>(fused.result) + (start + row) * upper_words;
    for (int64_t word = 0; word < upper_words; ++word) target[word] = source[word * kRows];
  }
}

// `Numbers` are the lanes of rows of numbers, `Lanes` those of packed ones.
template <class Lanes, class Numbers>
void run_fused(const bsbn::FusedWork* fused, uint8_t* scratch, int64_t first, int64_t last) {
  [[maybe_unused]] const typename Numbers::Session session{};
  for (int64_t group = first; group < last; group += kGroupsAtOnce) {
    const int64_t end = last - group < kGroupsAtOnce ? last : group + kGroupsAtOnce;
    if (fused->ensemble.packed != nullptr) {
      run_groups<Lanes>(*fused, scratch, group, end);
    } else {
      run_groups<Numbers>(*fused, scratch, group, end);
    }
  }
}

// The parts of the working memory of a thread.
template <class Lanes, class Numbers>
void lay_out_fused(bsbn::FusedWork* fused) {
  const int64_t inputs = fused->layer.inputs, upper_words = (fused->layer.units + 31) / 32;
  const int64_t groups = num_groups(fused->args) < kGroupsAtOnce ? num_groups(fused->args) : kGroupsAtOnce;
  const bool is_packed = fused->ensemble.packed != nullptr;
  const int64_t blocks = is_packed ? Lanes::kBlocks : Numbers::kBlocks;
  bsbn_ensemble_args args = fused->args;
  args.first_row = 0;
  args.rows = groups * kRows;
  bsbn::EnsembleScratch& places = fused->ensemble.scratch;
  places.weights = 0;
  places.ties = is_packed ? Lanes::weight_bytes(inputs) : Numbers::weight_bytes(inputs);
  places.view = places.ties + blocks * 128 * ((inputs + 31) / 32 + 1);  // ties are written 16 at a time
  places.upper = places.view + (is_packed ? 0 : Numbers::view_bytes(args, inputs, fused->ensemble.largest_input));
  places.bytes = places.upper + groups * upper_words * kRows * 4 + 64;
}

}  // namespace

#endif  // BSBN_FUSED_LINEAR_BLOCKS_H
