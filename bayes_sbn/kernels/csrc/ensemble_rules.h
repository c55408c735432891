// What decides the units of a block in a draw: their scale, bias and bounds, and the exact rule.
//
// Included by the files of every instruction set, hence nothing here may have external linkage.
#ifndef BSBN_ENSEMBLE_RULES_H
#define BSBN_ENSEMBLE_RULES_H

#include "ensemble_rows.h"

namespace {

struct Rule {
  Units units;
  Bounds bounds;
  Squeeze squeeze;
  uint32_t there;  // a bit for each unit that there is
};

// The packed weights of a block that were drawn before; units and bits that are not there are 0.
template <class Lanes>
void load_weights(const bsbn_ensemble_layer& layer, int64_t position, int64_t first_unit,
                         int number, uint32_t* weights) {
  const int64_t words = (layer.inputs + 31) / 32;
  const uint32_t* const source = layer.words + (position * layer.units + first_unit) * words;
  Lanes::load_block(source, words, number, weights);
  const uint32_t valid = valid_bits(layer.inputs, words - 1);
  for (int lane = 0; lane < kLanes; ++lane) weights[(words - 1) * kLanes + lane] &= valid;
}

inline bool decide_exactly(const Units& units, int lane, int64_t v, uint32_t u16, uint32_t row,
                           uint32_t unit, uint32_t draw, Key key) {
  uint32_t w[4];
  philox(row, unit, draw, counter_word(units.site, kRowNoiseTies), key, w);
  const int64_t u48 = static_cast<int64_t>(uint64_t{u16} << 32 | w[0]);
  return u48 < units.threshold(lane, v);
}

// The units of a block; the last layer decides nothing and has no scale and bias here.
inline void name_units(const bsbn_ensemble_layer& layer, int64_t position, int64_t first_unit, bool is_last,
                       Rule* rule) {
  Units& units = rule->units;
  units.noise_scale = layer.noise_scale;
  units.law = layer.law;
  units.site = layer.site;
  units.inputs = layer.inputs;
  units.number = static_cast<int>(layer.units - first_unit < kLanes ? layer.units - first_unit : kLanes);
  rule->there = (1u << units.number) - 1;
  if (is_last) return;
  const int64_t of_draw = layer.has_units_of_draws ? position * layer.units : 0;
  for (int lane = 0; lane < kLanes; ++lane) {
    const bool is_there = lane < units.number;
    units.scale[lane] = is_there ? layer.scale[of_draw + first_unit + lane] : 0.0;
    units.bias[lane] = is_there ? layer.bias[of_draw + first_unit + lane] : 0.0;
  }
}

// The bounds of units whose noise all rows share.
template <class Lanes>
void share_noise(const Lanes& lanes, int64_t most, Rule* rule) {
  uint32_t w[4][kLanes];
  lanes.words(0, counter_word(rule->units.site, kSharedNoise), w);
  int64_t u48[kLanes];
  for (int lane = 0; lane < kLanes; ++lane) {
    u48[lane] = static_cast<int64_t>(uint64_t{w[0][lane] & 0xFFFFu} << 32 | w[1][lane]);
  }
  find_bounds(rule->units, u48, rule->units.counts_mismatches ? 0 : -most, most, &rule->bounds);
}

}  // namespace

#endif  // BSBN_ENSEMBLE_RULES_H
