// Fibers for the threads of a block: each runs until it waits for others, and is resumed in turn.
//
// What a device leaves undefined is an error here: a warp whose threads come to different collective
// operations, a block whose threads do not all come to a barrier.
#include "blocks.h"

#include <setjmp.h>
#include <ucontext.h>

#include <memory>
#include <vector>

Dim threadIdx, blockIdx, blockDim, gridDim;

namespace {

constexpr uint32_t kWarp = 32;
constexpr std::size_t kStackBytes = 128 << 10;

enum class Kind { kNone, kBarrier, kWarp, kExchange, kProduct };

// Threads that wait for each other: those of a warp, or of a block.
struct Meeting {
  uint32_t size = 0, arrived = 0;
  uint64_t number = 0;
  Kind kind = Kind::kNone;
};

struct Warp {
  Meeting meeting;
  uint32_t given[kWarp], taken[kWarp];
  uint32_t a[kWarp][4], b[kWarp][2], c[kWarp][4];
};

struct Fiber {
  ucontext_t first;  // only to begin it
  jmp_buf place;
  std::unique_ptr<char[]> stack{new char[kStackBytes]};
  bool has_begun, is_done;
};

std::vector<Fiber> fibers;
std::vector<Warp> warps;
Meeting barrier;
jmp_buf scheduler;
uint32_t current;
const char* failure;
bool has_moved;
const std::function<void()>* running;

// Back to the scheduler, which resumes the fiber here.
void yield() {
  if (_setjmp(fibers[current].place) == 0) _longjmp(scheduler, 1);
}

[[noreturn]] void fail(const char* words) {
  if (failure == nullptr) failure = words;
  for (;;) yield();
}

// Waits for the others; the last to come calls `act`.
template <class Act>
void meet(Meeting& meeting, Kind kind, Act act) {
  has_moved = true;
  if (meeting.arrived == 0) meeting.kind = kind;
  if (meeting.kind != kind) fail("threads of a warp came to different operations");
  if (++meeting.arrived == meeting.size) {
    act();
    meeting.arrived = 0;
    ++meeting.number;
    return;
  }
  const uint64_t number = meeting.number;
  while (meeting.number == number) yield();
}

void begin_fiber() {
  (*running)();
  fibers[current].is_done = true;
  has_moved = true;
  for (;;) yield();
}

void resume(uint32_t thread) {
  current = thread;
  threadIdx = {thread, 0, 0};
  Fiber& fiber = fibers[thread];
  if (_setjmp(scheduler) != 0) return;
  if (fiber.has_begun) _longjmp(fiber.place, 1);
  fiber.has_begun = true;
  getcontext(&fiber.first);
  fiber.first.uc_stack.ss_sp = fiber.stack.get();
  fiber.first.uc_stack.ss_size = kStackBytes;
  fiber.first.uc_link = nullptr;
  makecontext(&fiber.first, begin_fiber, 0);
  setcontext(&fiber.first);
}

// Which thread is the i-th to be begun or resumed in a turn.
uint32_t ith_thread(uint32_t i, uint32_t threads, int order, uint32_t turn) {
  if (order == 0) return i;
  if (order == 1) return threads - 1 - i;
  const uint32_t mixed = (turn + static_cast<uint32_t>(order)) * 0x9E3779B9u;
  return (i * (2 * (mixed >> 8) + 1) + (mixed >> 20)) % threads;  // any, as odd and 2^k have no factor
}

void run_block(int order) {
  const uint32_t threads = blockDim.x;
  barrier = Meeting{threads};
  for (Warp& warp : warps) warp.meeting = Meeting{kWarp};
  for (Fiber& fiber : fibers) fiber.has_begun = fiber.is_done = false;
  uint32_t left = threads, turn = 0;
  while (left != 0 && failure == nullptr) {
    has_moved = false;
    left = 0;
    for (uint32_t i = 0; i < threads && failure == nullptr; ++i) {
      const uint32_t thread = ith_thread(i, threads, order, turn);
      if (fibers[thread].is_done) continue;
      resume(thread);
      left += !fibers[thread].is_done;
    }
    ++turn;
    if (left != 0 && !has_moved) failure = "threads of a block wait for others that have returned";
  }
}

}  // namespace

void __syncthreads() { meet(barrier, Kind::kBarrier, [] {}); }

void __syncwarp() { meet(warps[current / kWarp].meeting, Kind::kWarp, [] {}); }

uint32_t __shfl_xor_sync(uint32_t mask, uint32_t value, int lanes) {
  if (mask != 0xFFFFFFFFu) fail("an exchange by a part of a warp");
  Warp& warp = warps[current / kWarp];
  const uint32_t lane = current % kWarp;
  warp.given[lane] = value;
  meet(warp.meeting, Kind::kExchange, [&] { std::memcpy(warp.taken, warp.given, sizeof warp.given); });
  return warp.taken[lane ^ static_cast<uint32_t>(lanes)];
}

// The fragments of mma.m16n8k256 for single bits as the PTX manual lays them out: thread 4 g + q has of
// A (16 x 256) rows g, g + 8, g, g + 8 at columns 32 q, 32 q, 128 + 32 q, 128 + 32 q and the 31 after
// each; of B (256 x 8) column g at rows 32 q and 128 + 32 q; of C rows g, g, g + 8, g + 8 at columns
// 2 q, 2 q + 1, 2 q, 2 q + 1.
void emulate_mma_and_popc(uint32_t (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  Warp& warp = warps[current / kWarp];
  const uint32_t lane = current % kWarp;
  std::memcpy(warp.a[lane], a, sizeof a);
  std::memcpy(warp.c[lane], c, sizeof c);
  warp.b[lane][0] = b0;
  warp.b[lane][1] = b1;
  meet(warp.meeting, Kind::kProduct, [&] {
    uint32_t A[16][8], B[8][8];
    for (uint32_t t = 0; t < kWarp; ++t) {
      const uint32_t g = t / 4, q = t % 4;
      for (uint32_t i = 0; i < 4; ++i) A[g + 8 * (i % 2)][q + 4 * (i / 2)] = warp.a[t][i];
      for (uint32_t i = 0; i < 2; ++i) B[g][q + 4 * i] = warp.b[t][i];
    }
    for (uint32_t t = 0; t < kWarp; ++t) {
      for (uint32_t i = 0; i < 4; ++i) {
        const uint32_t row = t / 4 + 8 * (i / 2), column = 2 * (t % 4) + i % 2;
        for (uint32_t word = 0; word < 8; ++word) {
          warp.c[t][i] += static_cast<uint32_t>(__builtin_popcount(A[row][word] & B[column][word]));
        }
      }
    }
  });
  std::memcpy(c, warp.c[lane], sizeof c);
}

const char* run_grid(Dim grid, Dim block, int order, const std::function<void()>& kernel) {
  const bool is_power = (block.x & (block.x - 1)) == 0;
  if (!is_power || block.x % kWarp != 0 || block.x > 1024 || block.y != 1 || block.z != 1) {
    return "a block must be of 32, 64, ..., 1024 threads, in one dimension";
  }
  blockDim = block;
  gridDim = grid;
  running = &kernel;
  failure = nullptr;
  if (fibers.size() != block.x) fibers = std::vector<Fiber>(block.x);
  warps.resize(block.x / kWarp);
  for (uint32_t z = 0; z < grid.z; ++z) {
    for (uint32_t y = 0; y < grid.y; ++y) {
      for (uint32_t x = 0; x < grid.x && failure == nullptr; ++x) {
        blockIdx = {x, y, z};
        run_block(order);
      }
    }
  }
  return failure;
}
