// The kernels by which draws of a network run on a CUDA device, a launch for each layer.
//
// Equal to bayes_sbn/kernels/reference/network.py, bit by bit: compiled with products and sums rounded
// one by one (--fmad=false).  A layer's grid is (32 units, draws, parts of the rows).
#include "layer.cuh"

namespace {

// Activations by bounds that were found before.
struct SharedNoise {
  const CudaLayer& layer;

  __device__ void operator()(int64_t position, int64_t first_unit, const Group& group,
                             const Sums& sums) const {
    const auto decide = [&](int64_t unit, int, const int32_t(&v)[8]) {
      const Bound bound = layer.bounds[position * layer.units + unit];
      uint32_t up = 0;
#pragma unroll
      for (int i = 0; i < 8; ++i) up |= static_cast<uint32_t>(v[i] <= bound.bound) << i;
      return bound.flips ? up ^ 0xFFu : up;
    };
    write_activations(layer, position, first_unit, group, sums, decide);
  }
};

// Activations by noise of the rows' own: a thread's rows of a group have all their words in one call
// of Philox for each unit.
struct RowNoise {
  const CudaLayer& layer;
  const Squeeze* squeezes;  // of 32 units

  __device__ void operator()(int64_t position, int64_t first_unit, const Group& group,
                             const Sums& sums) const {
    const auto decide = [&](int64_t unit, int place, const int32_t(&v)[8]) {
      return decide_rows(layer, position, unit, squeezes[place], group.index, v);
    };
    write_activations(layer, position, first_unit, group, sums, decide);
  }
};

// The last layer: integer logits.
struct Logits {
  const CudaLayer& layer;

  __device__ void operator()(int64_t position, int64_t first_unit, const Group& group,
                             const Sums& sums) const {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const bool is_number = layer.is_number != 0;
#pragma unroll
    for (int place = 0; place < 32; ++place) {
      const int m = place / 16, h = place / 8 % 2, j = place / 2 % 4, e = place % 2;
      const int64_t unit = first_unit + 16 * m + 8 * h + lane / 4;
      const int row = 8 * j + 2 * (lane % 4) + e;
      if (unit >= layer.units || !group.has(row)) continue;
      const int64_t v = sums.value(m, h, j, e, is_number);
      const int64_t at = (position * layer.num_rows + group.begin + row) * layer.units + unit;
      layer.dots[at] = is_number ? v : layer.magnitude * (layer.inputs - 2 * v);
    }
  }
};

}  // namespace

extern "C" {

__global__ void __launch_bounds__(256) bsbn_inputs(const __grid_constant__ CudaInputs args) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= args.planes * args.num_rows * args.row_words) return;
  const int64_t word = at % args.row_words, row = at / args.row_words % args.num_rows;
  const int64_t plane = at / args.row_words / args.num_rows;
  const int64_t left = args.length - 32 * word, number = left < 32 ? left : 32;
  uint32_t bits = 0;
  for (int64_t i = 0; i < number; ++i) {
    const int32_t x = args.inputs[row * args.length + 32 * word + i];
    const uint32_t bit = args.is_number ? static_cast<uint32_t>(x) >> plane & 1u : x > 0;
    bits |= bit << i;
  }
  args.rows[at] = bits;
}

__global__ void __launch_bounds__(256) bsbn_table(const __grid_constant__ CudaTable args) {
  const int cell = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (cell < kCells) args.table[cell] = table_entry(args.law, cell);
}

__global__ void __launch_bounds__(256) bsbn_bounds(const __grid_constant__ CudaLayer layer) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= layer.num_draws * layer.units) return;
  const int64_t position = at / layer.units, unit = at % layer.units;
  const Key key{static_cast<uint32_t>(layer.key0), static_cast<uint32_t>(layer.key1)};
  uint32_t w[4];
  philox(0, static_cast<uint32_t>(unit), static_cast<uint32_t>(layer.draws[position]),
         counter_word(layer.site, kSharedNoise), key, w);
  const int64_t u48 = static_cast<int64_t>(uint64_t{w[0] & 0xFFFFu} << 32 | w[1]);
  const int64_t most = most_of(layer), least = layer.is_number ? -most : 0;
  layer.bounds[at] = find_bound(Unit(layer, position, unit), u48, least, most);
}

__global__ void __launch_bounds__(kThreads, 2) bsbn_shared_noise_layer(const __grid_constant__ CudaLayer layer) {
  run_layer(layer, SharedNoise{layer});
}

__global__ void __launch_bounds__(kThreads, 2) bsbn_row_noise_layer(const __grid_constant__ CudaLayer layer) {
  __shared__ Squeeze squeezes[kTileUnits];
  const int64_t unit = int64_t{kTileUnits} * blockIdx.x + threadIdx.x;
  if (threadIdx.x < kTileUnits && unit < layer.units) {
    squeezes[threadIdx.x] = make_squeeze(Unit(layer, blockIdx.y, unit), most_of(layer));
  }
  __syncthreads();
  run_layer(layer, RowNoise{layer, squeezes});
}

__global__ void __launch_bounds__(kThreads, 2) bsbn_last_layer(const __grid_constant__ CudaLayer layer) {
  run_layer(layer, Logits{layer});
}

}  // extern "C"
