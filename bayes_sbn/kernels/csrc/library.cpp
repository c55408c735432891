// Version, error message and choice of the instruction set.
//
// An instruction set is available if this build has its files (BSBN_HAVE_*, set by CMake where the
// compiler takes their flags) and the processor and the operating system support every flag that
// those files are compiled with.
#include "library.h"

#include <atomic>
#include <cstdarg>
#include <cstdio>

#if defined(BSBN_HAVE_AMX)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace bsbn {
namespace {

thread_local char last_error[512] = "";

#if defined(BSBN_HAVE_AMX)
// The processor has tiles of bytes, the system saves them, and it lets this process use them, which it
// is asked for once.
bool may_use_tiles() {
  unsigned a, b, c, d;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
  constexpr unsigned kTiles = 1u << 24, kBytes = 1u << 25, kSavesState = 1u << 27;
  if ((d & kTiles) == 0 || (d & kBytes) == 0) return false;
  if (!__get_cpuid(1, &a, &b, &c, &d) || (c & kSavesState) == 0) return false;
  unsigned low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  constexpr unsigned kTileState = 3u << 17;
  if ((low & kTileState) != kTileState) return false;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}
#endif

bool processor_supports(int64_t isa) {
  switch (isa) {
    case BSBN_PORTABLE:
      return true;
#if defined(BSBN_HAVE_AVX2)
    case BSBN_AVX2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
             __builtin_cpu_supports("bmi") && __builtin_cpu_supports("popcnt");
#endif
#if defined(BSBN_HAVE_AVX512)
    case BSBN_AVX512:
      return __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
             __builtin_cpu_supports("avx512vpopcntdq");
#endif
#if defined(BSBN_HAVE_AMX)
    case BSBN_AMX: {
      static const bool may_use = processor_supports(BSBN_AVX512) && may_use_tiles();
      return may_use;
    }
#endif
    default:
      return false;
  }
}

int64_t widest() {
  for (int64_t isa = BSBN_NUM_ISAS - 1; isa > BSBN_PORTABLE; --isa) {
    if (processor_supports(isa)) return isa;
  }
  return BSBN_PORTABLE;
}

std::atomic<int64_t>& chosen() {
  static std::atomic<int64_t> isa{widest()};
  return isa;
}

}  // namespace

int fail(int status, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(last_error, sizeof last_error, format, arguments);
  va_end(arguments);
  return status;
}

}  // namespace bsbn

int64_t bsbn_abi_version(void) { return BSBN_ABI_VERSION; }

const char* bsbn_last_error(void) { return bsbn::last_error; }

int64_t bsbn_isa(void) { return bsbn::chosen().load(std::memory_order_relaxed); }

int64_t bsbn_isa_is_available(int64_t isa) { return bsbn::processor_supports(isa) ? 1 : 0; }

int bsbn_set_isa(int64_t isa) {
  if (isa < 0 || isa >= BSBN_NUM_ISAS) {
    return bsbn::fail(BSBN_INVALID_ARGUMENT, "bsbn_set_isa: no instruction set has the code %lld",
                      static_cast<long long>(isa));
  }
  if (!bsbn::processor_supports(isa)) {
    return bsbn::fail(BSBN_UNAVAILABLE,
                      "bsbn_set_isa: this build or this processor lacks instruction set %lld",
                      static_cast<long long>(isa));
  }
  bsbn::chosen().store(isa, std::memory_order_relaxed);
  return BSBN_OK;
}
