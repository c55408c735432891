// Ensembles with the matrix unit AMX, and all else with AVX-512.
#include "../ensemble_parts.h"
#include "tiles.h"

namespace {

constexpr int64_t kRowsAtOnce = 512;  // whose bytes stay in a cache

int64_t rows_at_once(const bsbn_xnor_linear_args* args) {
  return args->num_rows < kRowsAtOnce ? args->num_rows : kRowsAtOnce;
}

int64_t tile_bytes(const bsbn_xnor_linear_args* args) {
  const int64_t groups = (rows_at_once(args) + kRows - 1) / kRows;
  return TileLanes::weight_bytes(args->length) + groups * TileLanes::group_bytes(args->length, false) + 64;
}

void multiply_by_tiles(const bsbn_xnor_linear_args* args, uint8_t* scratch, int64_t first, int64_t last) {
  const TileLanes::Session session;
  const int64_t words = (args->length + 31) / 32;
  const uint32_t* const weights = reinterpret_cast<const uint32_t*>(args->weights);
  const Vector length = _mm512_set1_epi32(static_cast<int32_t>(args->length));
  uint8_t* const bytes = scratch + TileLanes::weight_bytes(args->length);
  Values v[TileLanes::kBlocks];
  for (int64_t row = 0; row < args->num_rows; row += rows_at_once(args)) {
    const int64_t left = args->num_rows - row;
    const int64_t rows = left < rows_at_once(args) ? left : rows_at_once(args);
    const int64_t group_bytes = TileLanes::group_bytes(args->length, false);
    for (int64_t r = 0; r < rows; ++r) {
      TileLanes::spread_row(reinterpret_cast<const uint32_t*>(args->rows) + (row + r) * words, 1, args->length,
                            bytes + r / kRows * group_bytes, static_cast<int>(r % kRows));
    }
    const TileLanes::View view{bytes, true, false};
    for (int64_t block = first; block < last; block += TileLanes::kBlocks) {
      const int blocks = last - block < TileLanes::kBlocks ? 1 : TileLanes::kBlocks;
      for (int b = 0; b < blocks; ++b) {
        const int64_t unit = (block + b) * kLanes;
        const int number = static_cast<int>(args->units - unit < kLanes ? args->units - unit : kLanes);
        uint32_t* const packed = TileLanes::words_of(scratch, b, args->length);
        TileLanes::load_block(weights + unit * words, words, number, packed);
        for (int lane = 0; lane < kLanes && words > 0; ++lane) {
          packed[(words - 1) * kLanes + lane] &= valid_bits(args->length, words - 1);
        }
        TileLanes::prepare(scratch, b, args->length);
      }
      for (int64_t group = 0; group < rows; group += kRows) {
        const int count = static_cast<int>(rows - group < kRows ? rows - group : kRows);
        TileLanes::see(scratch, blocks, view, args->length, row + group, group / kRows, 0, count, v, [](int64_t) {});
        for (int r = 0; r < count; ++r) {
          for (int b = 0; b < blocks; ++b) {
            const int64_t unit = (block + b) * kLanes;
            const int64_t number = args->units - unit < kLanes ? args->units - unit : kLanes;
            const __mmask16 there = static_cast<__mmask16>((1u << number) - 1);
            const Vector mismatches = _mm512_load_si512(v[b].of[r]);
            const Vector dots = _mm512_sub_epi32(length, _mm512_add_epi32(mismatches, mismatches));
            _mm512_mask_storeu_epi32(args->dots + (row + group + r) * args->units + unit, there, dots);
          }
        }
      }
    }
  }
}

}  // namespace

const bsbn::EnsembleKernels bsbn::ensemble_amx = {
    BSBN_AMX,
    lay_out<TileLanes>,
    run_draws<TileLanes>,
    draw_some_weights<WideLanes>,
    tile_bytes,
    multiply_by_tiles,
};
