// The functions of the CUDA driver that the package calls, for kernels that run in this process.
//
// Statuses are those of cuda.h.  Memory of the "device" is that of the process.
#include <cstdlib>
#include <string>

#include "blocks.h"
#include "ensemble.cu"
#if defined(EMULATED_RATES)
#include "cuda_rates.cu"
#endif

namespace {

enum Status { kSuccess = 0, kInvalidValue = 1, kInvalidImage = 200, kNotFound = 500, kLaunchFailed = 719 };

struct Function {
  const char* name;
  void (*run)(void** parameters);
};

#define FUNCTION(kernel, Arguments) \
  { #kernel, [](void** parameters) { kernel(*static_cast<const Arguments*>(parameters[0])); } }

constexpr Function kFunctions[] = {FUNCTION(bsbn_inputs, CudaInputs),
                                   FUNCTION(bsbn_table, CudaTable),
                                   FUNCTION(bsbn_bounds, CudaLayer),
                                   FUNCTION(bsbn_shared_noise_layer, CudaLayer),
                                   FUNCTION(bsbn_row_noise_layer, CudaLayer),
#if defined(EMULATED_RATES)
                                   FUNCTION(rate_products, RateArguments),
                                   FUNCTION(rate_popcounts, RateArguments),
                                   FUNCTION(rate_random_words, RateArguments),
                                   FUNCTION(rate_weights, RateArguments),
#endif
                                   FUNCTION(bsbn_last_layer, CudaLayer)};

const char* failure = "";

}  // namespace

extern "C" {

int cuInit(unsigned) { return kSuccess; }

int cuDeviceGet(int* device, int ordinal) {
  *device = ordinal;
  return ordinal == 0 ? kSuccess : kInvalidValue;
}

int cuDevicePrimaryCtxRetain(void** context, int) {
  static char one;
  *context = &one;
  return kSuccess;
}

int cuCtxSetCurrent(void* context) { return context != nullptr ? kSuccess : kInvalidValue; }

int cuModuleLoadData(void** module, const void* image) {
  if (std::string(static_cast<const char*>(image)) != "emulated") return kInvalidImage;
  *module = const_cast<Function*>(kFunctions);
  return kSuccess;
}

int cuModuleGetFunction(const void** function, void* module, const char* name) {
  if (module != kFunctions) return kInvalidValue;
  for (const Function& one : kFunctions) {
    if (std::string(name) == one.name) {
      *function = &one;
      return kSuccess;
    }
  }
  return kNotFound;
}

int cuLaunchKernel(const Function* function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                   unsigned block_y, unsigned block_z, unsigned shared_bytes, void*, void** parameters, void**) {
  if (grid_x == 0 || grid_y == 0 || grid_z == 0 || grid_y > 65535 || grid_z > 65535 || shared_bytes != 0) {
    return kInvalidValue;
  }
  const char* const order = std::getenv("BSBN_EMULATED_ORDER");
  const char* const words = run_grid({grid_x, grid_y, grid_z}, {block_x, block_y, block_z},
                                     order == nullptr ? 0 : std::atoi(order), [=] { function->run(parameters); });
  failure = words == nullptr ? "" : words;
  return words == nullptr ? kSuccess : kLaunchFailed;
}

int cuGetErrorName(int status, const char** name) {
  *name = status == kLaunchFailed    ? "CUDA_ERROR_LAUNCH_FAILED"
          : status == kNotFound      ? "CUDA_ERROR_NOT_FOUND"
          : status == kInvalidImage  ? "CUDA_ERROR_INVALID_IMAGE"
          : status == kInvalidValue  ? "CUDA_ERROR_INVALID_VALUE"
                                     : nullptr;
  return *name == nullptr ? kInvalidValue : kSuccess;
}

int cuGetErrorString(int status, const char** words) {
  *words = status == kLaunchFailed ? failure : "words of the emulated driver";
  return kSuccess;
}

}  // extern "C"
