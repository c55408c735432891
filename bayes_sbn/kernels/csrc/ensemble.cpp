// Ensembles: arguments checked, inputs packed where they are +-1, draws and rows split over threads.
//
// Equal to bayes_sbn/kernels/reference/network.py.  A network is not copied: each thread draws weights
// of 16 units at a time into scratch memory of its own and has the packed rows of two layers there.
#include "ensemble.h"

#include <atomic>
#include <cstdlib>
#include <new>
#include <vector>

#include "ensemble_inputs.h"
#include "library.h"
#include "threads.h"

namespace bsbn {
namespace {

constexpr int64_t kLine = 64;  // bytes to which memory is aligned
constexpr int64_t kRows = 32;  // of a group

}  // namespace

bool pack_inputs(const bsbn_ensemble_args& args, std::vector<uint32_t>* packed, int64_t* magnitude,
                 int64_t* largest) {
  const int64_t inputs = args.layers[0].inputs, number = args.rows * inputs;
  int64_t least = 32768;
  *largest = 0;
  for (int64_t i = 0; i < number; ++i) {
    const int64_t size = std::abs(static_cast<int64_t>(args.inputs[i]));
    *largest = size > *largest ? size : *largest;
    least = size < least ? size : least;
  }
  *magnitude = 1;
  if (least != *largest || least == 0) return false;
  *magnitude = least;
  const int64_t words = (inputs + 31) / 32, place = args.first_row % kRows;
  packed->assign(static_cast<std::size_t>((place + args.rows + kRows - 1) / kRows * words * kRows), 0);
  for (int64_t row = 0; row < args.rows; ++row) {
    const int64_t group = (place + row) / kRows;
    uint32_t* const target = packed->data() + group * words * kRows + (place + row) % kRows;
    const int16_t* const values = args.inputs + row * inputs;
    for (int64_t i = 0; i < inputs; ++i) target[i / 32 * kRows] |= static_cast<uint32_t>(values[i] > 0) << (i % 32);
  }
  return true;
}

namespace {

constexpr int64_t kLeastGroups = 4;  // that are worth weights drawn once more

// Rows that are run on their own: where there are fewer draws than threads, the rows are cut, too.
struct Part {
  bsbn_ensemble_args args;
  EnsembleWork work;
};

std::vector<Part> cut_rows(const EnsembleWork& whole) {
  const bsbn_ensemble_args& args = *whole.args;
  const bsbn_ensemble_layer& first_layer = args.layers[0];
  const int64_t place = args.first_row % kRows, groups = (place + args.rows + kRows - 1) / kRows;
  const int64_t wanted = args.num_threads / args.num_draws, most = groups / kLeastGroups;
  const int64_t number = wanted < most ? wanted : most;
  std::vector<Part> parts(static_cast<std::size_t>(number > 1 ? number : 1), Part{args, whole});
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const int64_t cut = static_cast<int64_t>(i), cuts = static_cast<int64_t>(parts.size());
    const int64_t first = groups * cut / cuts, last = groups * (cut + 1) / cuts;
    const int64_t start = first == 0 ? 0 : first * kRows - place;
    const int64_t end = last == groups ? args.rows : last * kRows - place;
    Part& part = parts[i];
    part.args.rows = end - start;
    part.args.first_row += start;
    part.args.inputs += start * first_layer.inputs;
    part.args.dots += start * args.layers[args.num_layers - 1].units;
    if (part.work.packed != nullptr) part.work.packed += first * ((first_layer.inputs + 31) / 32) * kRows;
    part.work.args = &part.args;  // of a vector that grows no more
  }
  return parts;
}

struct Context {
  std::vector<Part> parts;
  const EnsembleKernels* kernels;
  std::atomic<bool> lacks_memory{false};
};

// Pairs of a part and a draw, draw by draw within a part.
void run_range(void* context, int64_t first, int64_t last) {
  Context* const own = static_cast<Context*>(context);
  const int64_t draws = own->parts[0].args.num_draws;
  for (int64_t at = first; at < last;) {
    const EnsembleWork& work = own->parts[static_cast<std::size_t>(at / draws)].work;
    const int64_t left = draws - at % draws, number = last - at < left ? last - at : left;
    const std::size_t bytes = static_cast<std::size_t>(work.scratch.bytes);
    void* const memory = ::operator new(bytes, std::align_val_t{kLine}, std::nothrow);
    if (memory == nullptr) {
      own->lacks_memory = true;
      return;
    }
    own->kernels->run(&work, static_cast<uint8_t*>(memory), at % draws, at % draws + number);
    ::operator delete(memory, std::align_val_t{kLine});
    at += number;
  }
}

int check_layer(const bsbn_ensemble_args& args, int64_t index) {
  const bsbn_ensemble_layer& layer = args.layers[index];
  const bool is_last = index + 1 == args.num_layers;
  const long long place = static_cast<long long>(index);
  if (layer.units < 1 || layer.inputs < 1 || layer.site < 0 || layer.site > 0xFFFF) {
    return fail(BSBN_INVALID_ARGUMENT, "bsbn_ensemble: layer %lld has %lld units, %lld inputs, site %lld",
                place, static_cast<long long>(layer.units), static_cast<long long>(layer.inputs),
                static_cast<long long>(layer.site));
  }
  if (index > 0 && layer.inputs != args.layers[index - 1].units) {
    return fail(BSBN_INVALID_ARGUMENT, "bsbn_ensemble: layer %lld has %lld inputs after %lld units", place,
                static_cast<long long>(layer.inputs), static_cast<long long>(args.layers[index - 1].units));
  }
  const bool has_weights = layer.words != nullptr || (layer.hot != nullptr && layer.cold != nullptr);
  if (!has_weights || layer.scale == nullptr || layer.bias == nullptr) {
    return fail(BSBN_INVALID_ARGUMENT, "bsbn_ensemble: a null pointer in layer %lld", place);
  }
  if (!is_last && (layer.law < 0 || layer.law >= BSBN_NUM_FLIP_LAWS ||
                   layer.law == BSBN_SCALED_LOGISTIC || !(layer.noise_scale > 0))) {
    return fail(BSBN_INVALID_ARGUMENT, "bsbn_ensemble: layer %lld has law %lld of scale %g", place,
                static_cast<long long>(layer.law), layer.noise_scale);
  }
  return BSBN_OK;
}

int check(const bsbn_ensemble_args& args) {
  if (args.num_layers < 1 || args.num_draws < 0 || args.rows < 0 || args.num_threads < 1 ||
      args.first_row < 0 || args.first_row + args.rows > int64_t{1} << 32) {
    return fail(BSBN_INVALID_ARGUMENT,
                "bsbn_ensemble: %lld layers, %lld draws, %lld rows from %lld, %lld threads",
                static_cast<long long>(args.num_layers), static_cast<long long>(args.num_draws),
                static_cast<long long>(args.rows), static_cast<long long>(args.first_row),
                static_cast<long long>(args.num_threads));
  }
  if (args.layers == nullptr) return fail(BSBN_INVALID_ARGUMENT, "bsbn_ensemble: no layers");
  for (int64_t index = 0; index < args.num_layers; ++index) {
    const int status = check_layer(args, index);
    if (status != BSBN_OK) return status;
  }
  const bool is_empty = args.num_draws == 0 || args.rows == 0;
  if (!is_empty && (args.inputs == nullptr || args.draws == nullptr || args.dots == nullptr)) {
    return fail(BSBN_INVALID_ARGUMENT, "bsbn_ensemble: a null pointer for data that is not empty");
  }
  for (int64_t i = 0; i < args.num_draws; ++i) {
    if (args.draws[i] < 0 || args.draws[i] > 0xFFFFFFFF) {
      return fail(BSBN_INVALID_ARGUMENT, "bsbn_ensemble: draw %lld", static_cast<long long>(args.draws[i]));
    }
  }
  return BSBN_OK;
}

int run(bsbn_ensemble_args* args) {
  EnsembleWork work{};
  std::vector<uint32_t> packed;
  const bool is_packed = pack_inputs(*args, &packed, &work.magnitude, &work.largest_input);
  const int64_t reach = args->layers[0].inputs * work.largest_input;
  if (!is_packed && reach > 0x7FFFFFFF) {
    return fail(BSBN_INVALID_ARGUMENT, "bsbn_ensemble: sums of %lld inputs up to %lld leave 32 bits",
                static_cast<long long>(args->layers[0].inputs), static_cast<long long>(work.largest_input));
  }
  std::vector<ActivationTables> tables(static_cast<std::size_t>(args->num_layers), ActivationTables{});
  for (int64_t index = 0; index + 1 < args->num_layers && !args->is_shared; ++index) {
    tables[static_cast<std::size_t>(index)] = activation_tables(args->layers[index].law);
  }
  work.args = args;
  work.packed = is_packed ? packed.data() : nullptr;
  work.tables = tables.data();
  work.dots_rows = args->rows;
  Context context{cut_rows(work), ensemble_kernels(), {}};
  for (Part& part : context.parts) context.kernels->lay_out(&part.work);
  const int64_t pairs = args->num_draws * static_cast<int64_t>(context.parts.size());
  for_row_ranges(pairs, 1, args->num_threads, run_range, &context);
  args->ran_isa = context.kernels->isa;
  if (context.lacks_memory) {
    return fail(BSBN_OUT_OF_MEMORY, "bsbn_ensemble: no memory for %lld bytes a thread",
                static_cast<long long>(context.parts[0].work.scratch.bytes));
  }
  return BSBN_OK;
}

}  // namespace

const EnsembleKernels* ensemble_kernels() {
  switch (bsbn_isa()) {
#if defined(BSBN_HAVE_AMX)
    case BSBN_AMX:
      return &ensemble_amx;
#endif
#if defined(BSBN_HAVE_AVX512)
    case BSBN_AVX512:
      return &ensemble_avx512;
#endif
#if defined(BSBN_HAVE_AVX2)
    case BSBN_AVX2:
      return &ensemble_avx2;
#endif
    default:
      return &ensemble_portable;
  }
}

}  // namespace bsbn

int bsbn_ensemble(bsbn_ensemble_args* args) {
  using namespace bsbn;
  const int status = check(*args);
  if (status != BSBN_OK) return status;
  args->ran_isa = ensemble_kernels()->isa;
  if (args->num_draws == 0 || args->rows == 0) return BSBN_OK;
  try {
    return run(args);
  } catch (const std::bad_alloc&) {
    return fail(BSBN_OUT_OF_MEMORY, "bsbn_ensemble: no memory for %lld rows",
                static_cast<long long>(args->rows));
  }
}
