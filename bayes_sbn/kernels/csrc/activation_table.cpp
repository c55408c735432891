// The tables of activation_table.h, made by F64 when a law is first asked for.
#include "activation_table.h"

#include <mutex>
#include <new>
#include <vector>

#include "ensemble.h"

namespace bsbn {
namespace {

std::vector<uint32_t> make_cells(int64_t law) {
  std::vector<uint32_t> made(kCells);
  for (int cell = 0; cell < kCells; ++cell) made[static_cast<std::size_t>(cell)] = table_entry(law, cell);
  return made;
}

double value(int64_t law, double z) { return static_cast<double>(threshold48(law, z, 1.0)) * 0x1p-32; }

int16_t rounded(double x) {  // modulo 2^16
  return static_cast<int16_t>(static_cast<int64_t>(x < 0 ? x - 0.5 : x + 0.5));
}

// Moves a piece by so much that none of its values leaves 16 bits.
void keep_in_range(int first, int piece, CoarseTable* table) {
  int32_t least = 65535, most = 0;
  for (int t = first; t < first + 2048; ++t) {
    const int32_t y = static_cast<uint16_t>(table->c0[piece]) + coarse_rise(*table, t);
    least = y < least ? y : least;
    most = y > most ? y : most;
  }
  if (least < 0) table->c0[piece] = static_cast<int16_t>(table->c0[piece] - least);
  if (most > 65535) table->c0[piece] = static_cast<int16_t>(table->c0[piece] - (most - 65535));
}

void make_coarse(int64_t law, CoarseTable* table) {
  const double unit = coarse_reach(law) / 32768;
  for (int t = -32768; t < 32768; t += 2048) {  // through three points of each piece
    constexpr double node = 0.8660254037844386;
    const double middle = value(law, unit * (t + 1024));
    const double left = value(law, unit * (t + 1024 - 1024 * node));
    const double right = value(law, unit * (t + 1024 + 1024 * node));
    const int piece = t >> 11 & 31;
    table->c0[piece] = rounded(middle < 65535 ? middle : 65535);
    table->c1[piece] = rounded((right - left) / (2 * node));
    table->c2[piece] = rounded((right + left - 2 * middle) / (2 * node * node));
    keep_in_range(t, piece, table);
  }
  int64_t guard = 1;
  for (int t = -32768; t < 32768; ++t) {
    const int64_t low = t == -32768 ? 0 : sure_below(law, unit * (t - kCoarseError));
    const int64_t high = t == 32767 ? 65536 : sure_above(law, unit * (t + kCoarseError));
    const int64_t y = static_cast<uint16_t>(table->c0[t >> 11 & 31]) + coarse_rise(*table, t);
    guard = y - low > guard ? y - low : guard;
    guard = high - y > guard ? high - y : guard;
  }
  table->guard = static_cast<int32_t>(guard);
}

struct LawTables {
  std::vector<uint32_t> cells;
  CoarseTable coarse;
};

}  // namespace

ActivationTables activation_tables(int64_t law) {
  static std::mutex lock;
  static LawTables tables[BSBN_NUM_FLIP_LAWS];
  const std::lock_guard<std::mutex> guard(lock);
  LawTables& own = tables[law];
  if (own.cells.empty()) {
    make_coarse(law, &own.coarse);
    own.cells = make_cells(law);
  }
  return {own.cells.data(), &own.coarse};
}

}  // namespace bsbn
