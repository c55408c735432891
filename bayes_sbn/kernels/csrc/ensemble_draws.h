// Draws of a network for all rows, one after the other and each layer by layer (ensemble_pipeline.h).
// Every instruction set compiles the loops for itself; `Lanes` has what an instruction set does in its own way, on
// the 16 units of a block at once:
//
//     Lanes(key, draw, unit)                        the units of a block
//     words(c0, c3, w)                              words of Philox4x32-10 at (c0, unit, draw, c3)
//     two_words(c0, c3, w)                          those of c0 and c0 + 1
//     draw_word(hot, site, inputs, word, weights, ties)
//                                                   a word of the packed weights; returns how many
//                                                   units the hot planes left open, and names them
//     settle(cold, site, ties, number, weights)     those, by the cold planes
//     load_block(source, words, number, weights)    those of units one after the other; others are 0
//     at_most(bounds, v)                            a bit a unit
//     squeeze(squeeze, law, cells, v, u16, open)    a bit a unit for +1, and for what is open
//     look(squeeze, table, v, words, up, open)      the same of two rows, coarsely, the second's above
//
// and how rows are laid out, and products made of `kBlocks` blocks at a time (WordRows):
//
//     weight_bytes(inputs), view_bytes(work, inputs) memory of the blocks' weights, and of a view
//     words_of(weights, block, inputs)              where the packed weights of a block are drawn
//     prepare(weights, block, inputs)               once they are
//     view(work, rows, inputs, memory)              rows as products read them
//     see(weights, blocks, view, inputs, row, group, place, number, v, beside)
//                                                   what the units see of the rows, from `place` of the
//                                                   group on; may call beside(parts), of which kParts are
//                                                   the whole, so that other work goes on meanwhile
//
// Included by the files of every instruction set, hence nothing here may have external linkage.
#ifndef BSBN_ENSEMBLE_DRAWS_H
#define BSBN_ENSEMBLE_DRAWS_H

#include "ensemble_pipeline.h"

namespace {

template <class Lanes>
void run_draws(const bsbn::EnsembleWork* work, uint8_t* scratch, int64_t first, int64_t last) {
  const bsbn_ensemble_args& args = *work->args;
  const bsbn::EnsembleScratch& places = work->scratch;
  Tie* const ties = reinterpret_cast<Tie*>(scratch + places.ties);
  uint32_t* const packed[2] = {reinterpret_cast<uint32_t*>(scratch + places.lower),
                               reinterpret_cast<uint32_t*>(scratch + places.upper)};
  [[maybe_unused]] const typename Lanes::Session session{};
  const Rows given{work->packed, args.inputs, nullptr, 0};
  const typename Lanes::View inputs = Lanes::view(work, given, args.layers[0].inputs, scratch + places.inputs);
  for (int64_t position = first; position < last; ++position) {
    for (int64_t index = 0; index < args.num_layers; ++index) {
      const bsbn_ensemble_layer& layer = args.layers[index];
      const bool is_first = index == 0;
      const Rows rows{is_first ? work->packed : packed[index % 2], is_first ? args.inputs : nullptr,
                      packed[(index + 1) % 2], (layer.units + 31) / 32};
      Pipeline<Lanes>(work, index, position, rows,
                      is_first ? inputs : Lanes::view(work, rows, layer.inputs, scratch + places.view),
                      scratch + places.weights, ties)
          .run();
    }
  }
}

// The parts of the working memory of a thread.
template <class Lanes>
void lay_out(bsbn::EnsembleWork* work) {
  const bsbn_ensemble_args& args = *work->args;
  int64_t inputs = args.layers[0].inputs, units = 0;
  for (int64_t index = 0; index + 1 < args.num_layers; ++index) {
    units = args.layers[index].units > units ? args.layers[index].units : units;
  }
  inputs = units > inputs ? units : inputs;
  bsbn::EnsembleScratch& places = work->scratch;
  const int64_t packed = num_groups(args) * kRows * 4 * ((units + 31) / 32);
  places.weights = 0;
  places.ties = Lanes::weight_bytes(inputs);
  places.inputs = places.ties + Lanes::kBlocks * 128 * ((inputs + 31) / 32 + 1);  // written 16 at a time
  places.view = places.inputs + Lanes::view_bytes(work, -1);
  places.lower = places.view + Lanes::view_bytes(work, units);
  places.upper = places.lower + packed;
  places.bytes = places.upper + packed + 64;
}

}  // namespace

#endif  // BSBN_ENSEMBLE_DRAWS_H
