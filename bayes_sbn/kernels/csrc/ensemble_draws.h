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
//     store_block(weights, words, number, target)   and the way back
//     at_most(bounds, v)                            a bit a unit
//     squeeze(squeeze, law, cells, v, u16, open)    a bit a unit for +1, and for what is open
//     look(squeeze, law, tables, v, words, up, open)
//                                                   the same of two rows, the second's above, and more
//                                                   may be left open
//
// and how rows are laid out, and products made of `kBlocks` blocks at a time (WordRows):
//
//     weight_bytes(inputs)                          memory of the blocks' weights
//     words_of(weights, block, inputs)              where the packed weights of a block are drawn
//     prepare(weights, block, inputs)               once they are
//     view_bytes(args, inputs, largest)             memory of rows of numbers as products read them,
//     view(args, inputs, largest, memory)           and these
//     see(weights, blocks, rows, view, inputs, row, group, place, number, v, beside)
//                                                   what the units see of the rows, from `place` of the
//                                                   group on; may call beside(parts), of which kParts are
//                                                   the whole, so that other work goes on meanwhile
//
// Included by the files of every instruction set, hence nothing here may have external linkage.
#ifndef BSBN_ENSEMBLE_DRAWS_H
#define BSBN_ENSEMBLE_DRAWS_H

#include "ensemble_pipeline.h"

namespace {

// `Numbers` are the lanes of a first layer whose inputs are numbers, `Lanes` those of all others.
template <class Lanes, class Numbers>
void run_draws(const bsbn::EnsembleWork* work, uint8_t* scratch, int64_t first, int64_t last) {
  const bsbn_ensemble_args& args = *work->args;
  const bsbn::EnsembleScratch& places = work->scratch;
  Tie* const ties = reinterpret_cast<Tie*>(scratch + places.ties);
  uint8_t* const weights = scratch + places.weights;
  uint32_t* const packed[2] = {reinterpret_cast<uint32_t*>(scratch + places.lower),
                               reinterpret_cast<uint32_t*>(scratch + places.upper)};
  [[maybe_unused]] const typename Numbers::Session session{};
  const bool are_numbers = work->packed == nullptr;
  typename Numbers::View view{};
  if (are_numbers) view = Numbers::view(args, args.layers[0].inputs, work->largest_input, scratch + places.view);
  for (int64_t position = first; position < last; ++position) {
    for (int64_t index = 0; index < args.num_layers; ++index) {
      Rows rows{index == 0 ? work->packed : packed[index % 2], packed[(index + 1) % 2],
                (args.layers[index].units + 31) / 32};
      if (index == 0 && are_numbers) {
        Pipeline<Numbers>(work, index, position, rows, view, weights, ties).run();
      } else {
        Pipeline<Lanes>(work, index, position, rows, {}, weights, ties).run();
      }
    }
  }
}

// The parts of the working memory of a thread.
template <class Lanes, class Numbers>
void lay_out(bsbn::EnsembleWork* work) {
  const bsbn_ensemble_args& args = *work->args;
  const int64_t inputs = args.layers[0].inputs;
  int64_t units = 0;
  for (int64_t index = 0; index + 1 < args.num_layers; ++index) {
    units = args.layers[index].units > units ? args.layers[index].units : units;
  }
  const int64_t most = units > inputs ? units : inputs;
  const int64_t blocks = Numbers::kBlocks > Lanes::kBlocks ? Numbers::kBlocks : Lanes::kBlocks;
  const int64_t first = Numbers::weight_bytes(inputs), others = Lanes::weight_bytes(most);
  const int64_t packed = num_groups(args) * kRows * 4 * ((units + 31) / 32);
  bsbn::EnsembleScratch& places = work->scratch;
  places.weights = 0;
  places.ties = first > others ? first : others;
  places.view = places.ties + blocks * 128 * ((most + 31) / 32 + 1);  // ties are written 16 at a time
  places.lower = places.view + (work->packed == nullptr ? Numbers::view_bytes(args, inputs, work->largest_input) : 0);
  places.upper = places.lower + packed;
  places.bytes = places.upper + packed + 64;
}

}  // namespace

#endif  // BSBN_ENSEMBLE_DRAWS_H
