// CPU stand-in for the device: the emitted kernels' text, compiled by a C++17 compiler with -DSPC_EMU, runs on it.
//
// A block runs as one fiber a thread. A barrier ends a phase: every thread runs from one barrier to the next without
// interruption, one after the other, in an order that the schedule gives. That is adversarial where it matters: a thread
// that reads what another one has yet to write, or overwrites what another one has yet to read, does so in some order.
//   * shared memory starts as NaN in every block and ends at a page that traps
//   * a barrier must be reached by all threads of the block, at one place of the text
//   * with a compiler that traps on undefined behaviour (g++ -fsanitize=signed-integer-overflow,bounds
//     -fsanitize-undefined-trap-on-error) that is caught too
//   * a load must lie inside one buffer and be aligned to its size; buffers start at the smallest promised alignment
//     (16 bytes), end at a page that traps, and their padding must stay as it was
// Not modelled: time, caches, memory order finer than barriers, warp operations.
#pragma once
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <math.h>
#include <string>
#include <sys/mman.h>
#include <vector>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#define __global__
#define __launch_bounds__(...)
#define __restrict__ __restrict
#define SPC_FN [[maybe_unused]] static inline
#define SPC_UNROLL
#define SPC_UNROLL_4
#define SPC_ROLLED
#define SPC_SMEM(name) unsigned char* const name = spc_emu::block->smem
#define spc_sync() spc_emu::barrier(__FILE__, __LINE__)
#define threadIdx (spc_emu::fiber->thread_index)
#define blockIdx (spc_emu::block->block_index)

struct alignas(16) spc_f4 { float x, y, z, w; };

namespace spc_emu {

struct Index {
  int x;
};

// Orders of the threads in a phase. The shuffled ones are drawn anew at every barrier.
enum Schedule { FORWARD, BACKWARD, WARPS_BACKWARD, LANES_FIRST, SHUFFLED, SHUFFLED_AGAIN, SCHEDULES };
inline const char* const schedule_names[] = {"forward", "backward", "warps backward", "lanes first", "shuffled",
                                             "shuffled again"};

struct Fiber {
#if defined(__x86_64__)
  void* stack_pointer;
#else
  ucontext_t context;
#endif
  Index thread_index;
  bool done;
  const char* file;  // where it waits
  int line;
};

struct Block {
  Index block_index;
  unsigned char* smem;
  size_t smem_bytes;
  void (*body)(void*);
  void* argument;
  std::vector<Fiber> fibers;
#if defined(__x86_64__)
  void* stack_pointer;
#else
  ucontext_t context;
#endif
};

struct Range {
  const unsigned char *begin, *end;
};

inline Block* block = nullptr;
inline Fiber* fiber = nullptr;
inline std::string running = "nothing";  // kernel and schedule, for messages
inline std::vector<Range> readable;      // buffers that kernels may load from

[[noreturn]] inline void fail(const std::string& what) {
  std::fprintf(stderr, "emu: %s: block %d thread %d: %s\n", running.c_str(), block ? block->block_index.x : -1,
               fiber ? fiber->thread_index.x : -1, what.c_str());
  std::_Exit(3);
}

// ---- fibers: jump between the block's own stack and that of a thread
#if defined(__x86_64__)
extern "C" void spc_emu_switch(void** save, void* to);
asm(R"(
.text
.weak spc_emu_switch
.type spc_emu_switch,@function
spc_emu_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size spc_emu_switch,.-spc_emu_switch
)");
inline void enter(Fiber* f) { spc_emu_switch(&block->stack_pointer, f->stack_pointer); }
inline void leave() { spc_emu_switch(&fiber->stack_pointer, block->stack_pointer); }
#else
inline void enter(Fiber* f) { swapcontext(&block->context, &f->context); }
inline void leave() { swapcontext(&fiber->context, &block->context); }
#endif

inline void fiber_main() {
  block->body(block->argument);
  fiber->done = true;
  leave();
  std::abort();
}

inline void prepare(Fiber* f, unsigned char* stack, size_t bytes) {
#if defined(__x86_64__)
  void** top = (void**)(stack + bytes);
  *--top = nullptr;
  *--top = (void*)fiber_main;
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  f->stack_pointer = top;
#else
  getcontext(&f->context);
  f->context.uc_stack.ss_sp = stack;
  f->context.uc_stack.ss_size = bytes;
  f->context.uc_link = nullptr;
  makecontext(&f->context, fiber_main, 0);
#endif
}

inline void barrier(const char* file, int line) {
  fiber->file = file;
  fiber->line = line;
  leave();
}

// ---- memory
constexpr size_t PAGE = 4096;
constexpr int POISON = 0xff;  // four of these bytes are a NaN

inline size_t padded(size_t bytes) { return (bytes + 15) / 16 * 16; }

// A buffer of `bytes` at an address that is a multiple of 16 and of no more, padded to 16 bytes, filled with NaN, between
// a page of NaN and a page that traps.
inline unsigned char* allocate(size_t bytes) {
  // A block of 32k + 16 bytes that ends at a page starts at an odd multiple of 16.
  size_t used = padded(bytes);
  if (used % 32 == 0) used += 16;
  const size_t whole = (used + PAGE - 1) / PAGE * PAGE + PAGE;
  auto* p = (unsigned char*)mmap(nullptr, whole + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) fail("out of memory");
  std::memset(p, POISON, whole);
  mprotect(p + whole, PAGE, PROT_NONE);
  return p + whole - used;
}

inline void release(unsigned char* p, size_t bytes) {
  size_t used = padded(bytes);
  if (used % 32 == 0) used += 16;
  const size_t whole = (used + PAGE - 1) / PAGE * PAGE + PAGE;
  munmap(p + used - whole, whole + PAGE);
}

// Whether the padding on both sides of a buffer is as `allocate` left it.
inline bool untouched_around(const unsigned char* p, size_t bytes) {
  size_t used = padded(bytes);
  if (used % 32 == 0) used += 16;
  for (size_t i = bytes; i < used; ++i) {
    if (p[i] != POISON) return false;
  }
  for (size_t i = 1; i <= PAGE; ++i) {
    if (*(p - i) != POISON) return false;
  }
  return true;
}

template <class T>
inline T load(const void* p) {
  const auto* q = (const unsigned char*)p;
  if ((uintptr_t)p % alignof(T) != 0) fail("a load is misaligned");
  for (const Range& r : readable) {
    if (q >= r.begin && q + sizeof(T) <= r.end) return *(const T*)p;
  }
  fail("a load lies outside every buffer");
}

inline void on_trap(int signal) {
  const bool memory = signal == SIGSEGV || signal == SIGBUS;
  fail(memory ? "an access lies outside its memory" : "undefined arithmetic or a register array out of bounds");
}

inline void catch_traps() {
  stack_t alternate = {};
  alternate.ss_size = 1 << 16;
  alternate.ss_sp = std::malloc(alternate.ss_size);
  sigaltstack(&alternate, nullptr);
  struct sigaction action = {};
  action.sa_handler = on_trap;
  action.sa_flags = SA_ONSTACK;
  for (int signal : {SIGSEGV, SIGBUS, SIGILL, SIGTRAP}) sigaction(signal, &action, nullptr);
}

// ---- launch
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15ull + 1) {}
  size_t below(size_t n) {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return (size_t)(state_ % n);
  }

 private:
  uint64_t state_;
};

inline void draw(std::vector<int>& order, Schedule schedule, Random& random) {
  const int n = (int)order.size(), warps = n / 32;
  for (int i = 0; i < n; ++i) {
    const int warp = i / 32, lane = i % 32;
    order[i] = schedule == BACKWARD         ? n - 1 - i
               : schedule == WARPS_BACKWARD ? (warps - 1 - warp) * 32 + lane
               : schedule == LANES_FIRST    ? i % warps * 32 + i / warps
                                            : i;
  }
  if (schedule == SHUFFLED || schedule == SHUFFLED_AGAIN) {
    for (int i = n - 1; i > 0; --i) std::swap(order[i], order[random.below(i + 1)]);
  }
}

// Runs `body(argument)` as a kernel of `grid` blocks of `threads` threads (a multiple of 32).
inline void launch(void (*body)(void*), void* argument, int grid, int threads, size_t smem_bytes, Schedule schedule) {
  constexpr size_t STACK = 64 << 10;
  if (threads % 32 != 0) fail("a block is not made of whole warps");
  auto* stacks = (unsigned char*)mmap(nullptr, STACK * threads, PROT_READ | PROT_WRITE,
                                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (stacks == MAP_FAILED) fail("out of memory");
  Block b = {};
  b.smem = allocate(smem_bytes);
  b.smem_bytes = smem_bytes;
  b.body = body;
  b.argument = argument;
  b.fibers.resize(threads);
  block = &b;
  Random random(schedule);
  std::vector<int> order(threads);
  for (int i = 0; i < grid; ++i) {
    b.block_index.x = i;
    std::memset(b.smem, POISON, smem_bytes);
    for (int t = 0; t < threads; ++t) {
      b.fibers[t].thread_index.x = t;
      b.fibers[t].done = false;
      prepare(&b.fibers[t], stacks + STACK * t, STACK);
    }
    for (bool done = false; !done;) {
      draw(order, schedule, random);
      for (int t : order) {
        fiber = &b.fibers[t];
        enter(fiber);
      }
      const Fiber& one = b.fibers[0];
      for (const Fiber& f : b.fibers) {
        fiber = &b.fibers[f.thread_index.x];
        if (f.done != one.done) fail("some threads wait at a barrier while others returned");
        if (!f.done && (f.line != one.line || std::strcmp(f.file, one.file) != 0)) {
          fail("threads wait at different barriers");
        }
      }
      fiber = nullptr;
      done = one.done;
    }
    if (!untouched_around(b.smem, smem_bytes)) fail("a store lies outside shared memory");
  }
  block = nullptr;
  release(b.smem, smem_bytes);
  munmap(stacks, STACK * threads);
}

}  // namespace spc_emu

// ---- the prelude's functions
SPC_FN float spc_ldg(const float* p) { return spc_emu::load<float>(p); }
SPC_FN u32 spc_ldg(const u32* p) { return spc_emu::load<u32>(p); }
SPC_FN u32 spc_ldg(const u8* p) { return spc_emu::load<u8>(p); }
SPC_FN spc_f4 spc_ldg4(const float* p) { return spc_emu::load<spc_f4>(p); }
SPC_FN float spc_bits(u32 bits) {
  float f;
  std::memcpy(&f, &bits, sizeof f);
  return f;
}
