// One layer alone, its product and what becomes of it in one pass: arguments checked, rows split over
// threads.
//
// Equal to bayes_sbn/kernels/reference/fused_linear.py.  Threads share groups of 32 rows, and each has
// the weights of all units, or draws them, once for 32 groups.
#include <vector>

#include "ensemble.h"
#include "ensemble_inputs.h"
#include "library.h"
#include "threads_scratch.h"

namespace bsbn {
namespace {

constexpr int64_t kRowsOfGroup = 32;         // rows that share words of the noise
constexpr int64_t kLeastOfThread = 1 << 15;  // words that blocks see before threads pay

struct Rows {
  const char* name;  // of the function
  const int32_t* packed;
  const int16_t* numbers;
  int64_t number;
  int64_t num_threads;
};

int check(const Rows& rows, const bsbn_ensemble_layer* given, bool may_draw, bool has_units,
          const void* result) {
  if (given == nullptr) return fail(BSBN_INVALID_ARGUMENT, "%s: no layer", rows.name);
  const bsbn_ensemble_layer& layer = *given;
  if (rows.number < 0 || layer.units < 0 || layer.inputs < 0 || layer.inputs > 0x7FFFFFFF ||
      rows.num_threads < 1) {
    return fail(BSBN_INVALID_ARGUMENT, "%s: %lld rows, %lld units, %lld inputs, %lld threads", rows.name,
                static_cast<long long>(rows.number), static_cast<long long>(layer.units),
                static_cast<long long>(layer.inputs), static_cast<long long>(rows.num_threads));
  }
  const bool is_empty = rows.number == 0 || layer.units == 0;
  const bool has_planes = may_draw && layer.hot != nullptr && layer.cold != nullptr;
  const bool has_inputs = rows.packed != nullptr || rows.numbers != nullptr;
  const bool lacks = layer.inputs > 0 && !(has_inputs && (layer.words != nullptr || has_planes));
  const bool lacks_units = has_units && (layer.scale == nullptr || layer.bias == nullptr);
  if (!is_empty && (result == nullptr || lacks || lacks_units)) {
    return fail(BSBN_INVALID_ARGUMENT, "%s: a null pointer for data that is not empty", rows.name);
  }
  for (int64_t unit = 0; has_units && !lacks_units && unit < layer.units; ++unit) {
    // the difference is 0, or NaN of an infinite number and of NaN
    const double scale = layer.scale[unit], bias = layer.bias[unit];
    if (scale - scale != 0.0 || bias - bias != 0.0) {
      return fail(BSBN_NOT_FINITE, "%s: scale %g and bias %g of unit %lld", rows.name, scale, bias,
                  static_cast<long long>(unit));
    }
  }
  return BSBN_OK;
}

// Packed rows in groups of 32 that share words of noise, (groups, words, 32), without their padding bits.
const uint32_t* in_groups(const Rows& rows, int64_t length, int64_t first_row, std::vector<uint32_t>* made) {
  const int64_t words = (length + 31) / 32, place = first_row % kRowsOfGroup;
  const int64_t groups = (place + rows.number + kRowsOfGroup - 1) / kRowsOfGroup;
  made->assign(static_cast<std::size_t>(groups * words * kRowsOfGroup), 0);
  const uint32_t last = length % 32 == 0 ? 0xFFFFFFFFu : (1u << length % 32) - 1;
  const uint32_t* source = reinterpret_cast<const uint32_t*>(rows.packed);
  for (int64_t row = 0; row < rows.number; ++row, source += words) {
    const int64_t at = place + row;
    uint32_t* const target = made->data() + at / kRowsOfGroup * words * kRowsOfGroup + at % kRowsOfGroup;
    for (int64_t word = 0; word < words; ++word) target[word * kRowsOfGroup] = source[word];
    target[(words - 1) * kRowsOfGroup] &= last;
  }
  return made->data();
}

// Runs a layer whose arguments were checked; `work` has its kind, args and result.
int run(const Rows& rows, const bsbn_ensemble_layer& layer, FusedWork* work, int64_t* ran_isa) {
  const EnsembleKernels* const kernels = ensemble_kernels();
  *ran_isa = kernels->isa;
  if (rows.number == 0 || layer.units == 0) return BSBN_OK;
  work->layer = layer;
  work->layer.has_units_of_draws = 0;
  bsbn_ensemble_args& args = work->args;
  args.inputs = rows.numbers;
  args.layers = &work->layer;
  args.num_layers = work->kind == kDots ? 1 : 2;  // the one above is the caller's and is not looked at
  args.num_draws = 1;
  args.rows = rows.number;
  std::vector<uint32_t> made;
  EnsembleWork& ensemble = work->ensemble;
  // without inputs, one that is 0
  std::vector<int16_t> zeros;
  std::vector<uint32_t> any;
  if (layer.inputs == 0) {
    zeros.assign(static_cast<std::size_t>(rows.number), 0);
    any.assign(static_cast<std::size_t>(layer.units), 0);
    work->layer.inputs = 1;
    work->layer.words = any.data();
    args.inputs = zeros.data();
  }
  if (layer.inputs > 0 && rows.packed != nullptr) {
    ensemble.packed = in_groups(rows, layer.inputs, args.first_row, &made);
    ensemble.magnitude = ensemble.largest_input = 1;
  } else if (pack_inputs(args, &made, &ensemble.magnitude, &ensemble.largest_input)) {
    ensemble.packed = made.data();
  } else if (layer.inputs * ensemble.largest_input > 0x7FFFFFFF) {
    return fail(BSBN_SUMS_TOO_LARGE, "%s: sums of %lld inputs up to %lld leave 32 bits", rows.name,
                static_cast<long long>(layer.inputs), static_cast<long long>(ensemble.largest_input));
  }
  const bool is_looked_up = work->kind == kDrawnSigns && !args.is_shared;
  const ActivationTables tables = is_looked_up ? activation_tables(layer.law) : ActivationTables{};
  ensemble.tables = &tables;
  ensemble.args = &args;
  kernels->lay_out_fused(work);
  const int64_t words = (layer.inputs + 31) / 32, blocks = (layer.units + 15) / 16;
  const int64_t groups = (args.first_row % kRowsOfGroup + rows.number + kRowsOfGroup - 1) / kRowsOfGroup;
  const int64_t of_group = kRowsOfGroup * blocks * (ensemble.packed != nullptr ? words : layer.inputs);
  Parts<FusedWork> parts{work, kernels->fused_linear, ensemble.scratch.bytes, {}};
  return run_parts(rows.name, &parts, groups, rows.num_threads, 1 + kLeastOfThread / (of_group + 1));
}

// What a function does once its arguments were checked.
int run_checked(int status, const Rows& rows, const bsbn_ensemble_layer* layer, FusedWork* work,
                int64_t* ran_isa) {
  if (status != BSBN_OK) return status;
  try {
    return run(rows, *layer, work, ran_isa);
  } catch (const std::bad_alloc&) {
    return fail(BSBN_OUT_OF_MEMORY, "%s: no memory for %lld rows", rows.name,
                static_cast<long long>(rows.number));
  }
}

int check_draw(const bsbn_stochastic_linear_args& args) {
  const bsbn_ensemble_layer& layer = *args.layer;
  if (args.draw < 0 || args.draw > 0xFFFFFFFF || layer.site < 0 || layer.site > 0xFFFF ||
      args.first_row < 0 || args.first_row + args.num_rows > int64_t{1} << 32) {
    return fail(BSBN_INVALID_ARGUMENT, "bsbn_stochastic_linear: draw %lld, site %lld, %lld rows from %lld",
                static_cast<long long>(args.draw), static_cast<long long>(layer.site),
                static_cast<long long>(args.num_rows), static_cast<long long>(args.first_row));
  }
  if (layer.law < 0 || layer.law >= BSBN_NUM_FLIP_LAWS || layer.law == BSBN_SCALED_LOGISTIC ||
      !(layer.noise_scale > 0)) {
    return fail(BSBN_INVALID_ARGUMENT, "bsbn_stochastic_linear: law %lld of scale %g",
                static_cast<long long>(layer.law), layer.noise_scale);
  }
  return BSBN_OK;
}

}  // namespace
}  // namespace bsbn

int bsbn_stochastic_linear(bsbn_stochastic_linear_args* args) {
  using namespace bsbn;
  const Rows rows{"bsbn_stochastic_linear", args->rows, args->numbers, args->num_rows, args->num_threads};
  int status = check(rows, args->layer, true, true, args->words);
  if (status == BSBN_OK) status = check_draw(*args);
  FusedWork work{};
  work.kind = kDrawnSigns;
  work.args.draws = &args->draw;
  work.args.first_row = args->first_row;
  work.args.key0 = args->key0;
  work.args.key1 = args->key1;
  work.args.is_shared = args->is_shared;
  work.result = args->words;
  return run_checked(status, rows, args->layer, &work, &args->ran_isa);
}

int bsbn_sign_linear(bsbn_sign_linear_args* args) {
  using namespace bsbn;
  const Rows rows{"bsbn_sign_linear", args->rows, args->numbers, args->num_rows, args->num_threads};
  FusedWork work{};
  work.kind = kSigns;
  work.result = args->words;
  const int status = check(rows, args->layer, false, true, args->words);
  return run_checked(status, rows, args->layer, &work, &args->ran_isa);
}

int bsbn_linear_logits(bsbn_linear_logits_args* args) {
  using namespace bsbn;
  const Rows rows{"bsbn_linear_logits", args->rows, args->numbers, args->num_rows, args->num_threads};
  FusedWork work{};
  work.kind = kLogits;
  work.result = args->logits;
  const int status = check(rows, args->layer, false, true, args->logits);
  return run_checked(status, rows, args->layer, &work, &args->ran_isa);
}

int bsbn_integer_linear(bsbn_integer_linear_args* args) {
  using namespace bsbn;
  const Rows rows{"bsbn_integer_linear", nullptr, args->numbers, args->num_rows, args->num_threads};
  bsbn_ensemble_layer layer{};
  layer.words = args->weights;
  layer.units = args->units;
  layer.inputs = args->inputs;
  const int64_t draw = 0;
  FusedWork work{};
  work.kind = kDots;
  work.args.draws = &draw;
  work.args.dots = args->dots;
  const int status = check(rows, &layer, false, false, args->dots);
  return run_checked(status, rows, &layer, &work, &args->ran_isa);
}
