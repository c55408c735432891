// Maps and windows as they come from outside, checked.
//
// The anonymous namespace gives every file its own copy.
#ifndef BSBN_WINDOWS_CHECKS_H
#define BSBN_WINDOWS_CHECKS_H

#include "library.h"

namespace bsbn {
namespace {

inline int check_windows(const char* name, const bsbn_maps& maps, const bsbn_window& w,
                         int64_t num_threads) {
  if (maps.batch < 0 || maps.height < 1 || maps.width < 1 || maps.channels < 1 || num_threads < 1) {
    return fail(BSBN_INVALID_ARGUMENT, "%s: %lld maps of %lld x %lld cells with %lld channels, %lld threads",
                name, static_cast<long long>(maps.batch), static_cast<long long>(maps.height),
                static_cast<long long>(maps.width), static_cast<long long>(maps.channels),
                static_cast<long long>(num_threads));
  }
  if (w.height < 1 || w.width < 1 || w.stride_height < 1 || w.stride_width < 1 || w.dilation_height < 1 ||
      w.dilation_width < 1 || w.top < 0 || w.left < 0 || w.out_height < 1 || w.out_width < 1) {
    return fail(BSBN_INVALID_ARGUMENT,
                "%s: a window of %lld x %lld, strides %lld, %lld, dilations %lld, %lld, padding %lld, %lld, "
                "for %lld x %lld outputs",
                name, static_cast<long long>(w.height), static_cast<long long>(w.width),
                static_cast<long long>(w.stride_height), static_cast<long long>(w.stride_width),
                static_cast<long long>(w.dilation_height), static_cast<long long>(w.dilation_width),
                static_cast<long long>(w.top), static_cast<long long>(w.left),
                static_cast<long long>(w.out_height), static_cast<long long>(w.out_width));
  }
  return BSBN_OK;
}

inline int check_data(const char* name, bool is_empty, bool lacks) {
  if (is_empty || !lacks) return BSBN_OK;
  return fail(BSBN_INVALID_ARGUMENT, "%s: a null pointer for data that is not empty", name);
}

}  // namespace
}  // namespace bsbn

#endif  // BSBN_WINDOWS_CHECKS_H
