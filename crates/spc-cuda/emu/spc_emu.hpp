// CPU stand-in for the device: the emitted kernels' text, compiled by a C++17 compiler with -DSPC_EMU, runs on it.
//
// A block runs as one fiber a thread. A barrier ends a phase: every thread runs from one barrier to the next, one after the
// other, in an order that the schedule gives, and stops only where its warp acts together. That is adversarial where it
// matters: a thread that reads what another one has yet to write, or overwrites what another one has yet to read, does so in
// some order. In half of the schedules a warp runs as far ahead of the others as it can.
//   * shared memory starts as NaN in every block and ends at a page that traps
//   * a barrier must be reached by all threads of the block, at one place of the text
//   * with a compiler that traps on undefined behaviour (g++ -fsanitize=signed-integer-overflow,bounds
//     -fsanitize-undefined-trap-on-error) that is caught too
//   * a load must lie inside one buffer and be aligned to its size; buffers start at the smallest promised alignment
//     (16 bytes), end at a page that traps, and their padding must stay as it was
//   * operations of a warp must be reached by all of its lanes, at one place of the text
//   * an asynchronous copy spoils its target at once and lands at the wait that covers it
//   * rows of a matrix load must not meet in a bank; positions of kept weights must ascend
//   * sums of a product of warp groups are NaN until the wait that covers it; what it reads of shared memory must not change
//     before, and must have been fenced by the threads whose copies it is
// Not modelled: time, caches, memory order finer than barriers. Tensor cores add in f32, one product after the other.
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
struct alignas(16) spc_w4 { u32 x, y, z, w; };
struct alignas(8) spc_w2 { u32 x, y; };

namespace spc_emu {

struct Index {
  int x;
};

// Orders of the threads in a phase. The shuffled ones are drawn anew at every barrier.
enum Schedule { FORWARD, BACKWARD, WARPS_BACKWARD, LANES_FIRST, SHUFFLED, SHUFFLED_AGAIN, SCHEDULES };
inline const char* const schedule_names[] = {"forward", "backward", "warps backward", "lanes first", "shuffled",
                                             "shuffled again"};

struct Copy {
  unsigned char* to;
  const unsigned char* from;
  int bytes;
};

// A product of a warp group in flight: where its sums go, and, in the first lane, what it reads.
struct Product {
  float* to;
  std::vector<float> sums;
  std::vector<std::pair<size_t, std::vector<unsigned char>>> seen;
};

// Does the work of a warp operation; slot l is what lane l gave and takes.
using WarpOp = void (*)(void* const* slots);

struct Fiber {
#if defined(__x86_64__)
  void* stack_pointer;
#else
  ucontext_t context;
#endif
  Index thread_index;
  bool done;
  WarpOp op;  // the operation of its warp that it waits for; null at a barrier
  void* slot;
  const char* file;  // where it waits
  int line;
  std::vector<std::vector<Copy>> groups;
  std::vector<Copy> open;
  std::vector<std::vector<Product>> product_groups;
  std::vector<Product> products;
};

struct Block {
  Index block_index;
  unsigned char* smem;
  size_t smem_bytes;
  void (*body)(void*);
  void* argument;
  std::vector<Fiber> fibers;
  std::vector<int> unfenced;  // by 16 bytes of shared memory: the thread (from 1) that copied there and has not fenced it
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
  fiber->op = nullptr;
  fiber->file = file;
  fiber->line = line;
  leave();
}

// All lanes of the warp meet, `op` runs once, and all go on.
inline void meet(WarpOp op, void* slot, const char* file, int line) {
  fiber->op = op;
  fiber->slot = slot;
  fiber->file = file;
  fiber->line = line;
  leave();
}

// Whether every lane of this warp waits for the same operation; if so it has run.
inline bool act(int warp) {
  Fiber* const lanes = &block->fibers[32 * warp];
  void* slots[32];
  for (int i = 0; i < 32; ++i) {
    if (lanes[i].done || !lanes[i].op || lanes[i].op != lanes[0].op) return false;
    if (lanes[i].line != lanes[0].line || std::strcmp(lanes[i].file, lanes[0].file) != 0) return false;
    slots[i] = lanes[i].slot;
  }
  fiber = lanes;
  lanes[0].op(slots);
  for (int i = 0; i < 32; ++i) lanes[i].op = nullptr;
  return true;
}

// Runs the threads of `order` until all have returned or wait at a barrier.
inline void phase(const std::vector<int>& order, bool ahead) {
  const int warps = (int)order.size() / 32;
  std::vector<std::vector<int>> by_warp(warps);
  std::vector<int> sequence;
  for (int t : order) {
    if (by_warp[t / 32].empty()) sequence.push_back(t / 32);
    by_warp[t / 32].push_back(t);
  }
  const auto run = [](int t) {
    fiber = &block->fibers[t];
    enter(fiber);
  };
  if (ahead) {
    for (int w : sequence) {
      do {
        for (int t : by_warp[w]) run(t);
      } while (act(w));
    }
  } else {
    for (int t : order) run(t);
    for (bool again = true; again;) {
      again = false;
      std::vector<bool> acted(warps);
      for (int w : sequence) acted[w] = act(w);
      for (int t : order) {
        if (acted[t / 32]) run(t);
      }
      for (int w : sequence) again = again || acted[w];
    }
  }
  for (Fiber& f : block->fibers) {
    fiber = &f;
    if (!f.done && f.op) fail("the lanes of a warp wait at different places");
  }
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
    b.unfenced.assign(smem_bytes / 16 + 1, 0);
    for (int t = 0; t < threads; ++t) {
      b.fibers[t].thread_index.x = t;
      b.fibers[t].done = false;
      b.fibers[t].op = nullptr;
      b.fibers[t].groups.clear();
      b.fibers[t].open.clear();
      b.fibers[t].product_groups.clear();
      b.fibers[t].products.clear();
      prepare(&b.fibers[t], stacks + STACK * t, STACK);
    }
    for (bool done = false; !done;) {
      draw(order, schedule, random);
      phase(order, schedule == FORWARD || schedule == BACKWARD || schedule == WARPS_BACKWARD);
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
SPC_FN float spc_get(const float* p) { return spc_emu::load<float>(p); }
SPC_FN u32 spc_get(const u8* p) { return spc_emu::load<u8>(p); }
SPC_FN u32 spc_get(const u32* p) { return spc_emu::load<u32>(p); }
SPC_FN spc_f4 spc_get4(const float* p) { return spc_emu::load<spc_f4>(p); }
// Threads run one after the other.
SPC_FN void spc_add(u32* p, u32 by) { *p += by; }
SPC_FN u32 spc_word(float a) {
  u32 bits;
  std::memcpy(&bits, &a, sizeof bits);
  return bits;
}
SPC_FN float spc_bits(u32 bits) {
  float f;
  std::memcpy(&f, &bits, sizeof f);
  return f;
}

// ---- tensor cores, asynchronous copies and matrix loads
SPC_FN void spc_halves(float (&v)[2], u32 word) {
  for (int i = 0; i < 2; ++i) {
    const u32 bits = word >> 16 * i & 0xffffu, exponent = bits >> 10 & 31u;
    const float size = exponent == 31u   ? (bits & 1023u ? NAN : INFINITY)
                       : exponent == 0u ? ldexpf((float)(bits & 1023u), -24)
                                        : ldexpf((float)((bits & 1023u) | 1024u), (int)exponent - 25);
    v[i] = bits & 0x8000u ? -size : size;
  }
}
SPC_FN spc_w4 spc_stream4(const u32* p) { return spc_emu::load<spc_w4>(p); }
SPC_FN u32 spc_stream(const u32* p) { return spc_emu::load<u32>(p); }

namespace spc_emu {
inline void in_shared(const void* p, size_t bytes, const char* what) {
  const auto* q = (const unsigned char*)p;
  if ((uintptr_t)p % 16 != 0) fail(std::string(what) + " is misaligned");
  if (q < block->smem || q + bytes > block->smem + block->smem_bytes) fail(std::string(what) + " lies outside shared memory");
}

inline void in_buffer(const void* p, size_t bytes, const char* what) {
  const auto* q = (const unsigned char*)p;
  if ((uintptr_t)p % 16 != 0) fail(std::string(what) + " is misaligned");
  for (const Range& r : readable) {
    if (q >= r.begin && q + bytes <= r.end) return;
  }
  fail(std::string(what) + " lies outside every buffer");
}
}  // namespace spc_emu

SPC_FN void spc_copy16(void* shared, const void* p, int bytes) {
  spc_emu::in_shared(shared, 16, "the target of a copy");
  if (bytes != 0 && bytes != 16) spc_emu::fail("a copy of a part of 16 bytes");
  if (bytes == 16) spc_emu::in_buffer(p, 16, "the source of a copy");
  std::memset(shared, spc_emu::POISON, 16);
  spc_emu::fiber->open.push_back({(unsigned char*)shared, (const unsigned char*)p, bytes});
}
SPC_FN void spc_copy_commit() {
  spc_emu::fiber->groups.push_back(spc_emu::fiber->open);
  spc_emu::fiber->open.clear();
}
template <int N>
SPC_FN void spc_copy_wait() {
  auto& groups = spc_emu::fiber->groups;
  while ((int)groups.size() > N) {
    for (const spc_emu::Copy& c : groups.front()) {
      std::memset(c.to, 0, 16);
      std::memcpy(c.to, c.from, c.bytes);
      spc_emu::block->unfenced[(c.to - spc_emu::block->smem) / 16] = spc_emu::fiber->thread_index.x + 1;
    }
    groups.erase(groups.begin());
  }
}

namespace spc_emu {
struct MatrixRow {
  const unsigned char* row;
  u32 r[4];
};

// Four 8 x 8 matrices of 16-bit numbers; with `turned`, each transposed.
inline void load_matrices(u32 (&r)[4], const void* row, bool turned, const char* file, int line) {
  in_shared(row, 16, "a row of a matrix load");
  MatrixRow slot = {(const unsigned char*)row, {turned, 0, 0, 0}};
  meet(
      [](void* const* slots) {
        const bool turned = ((MatrixRow*)slots[0])->r[0] != 0;
        for (int m = 0; m < 4; ++m) {
          const unsigned char* rows[8];
          unsigned banks = 0;
          for (int i = 0; i < 8; ++i) {
            rows[i] = ((MatrixRow*)slots[8 * m + i])->row;
            banks |= 1u << ((uintptr_t)rows[i] / 16 % 8);
          }
          if (banks != 0xff) fail("rows of a matrix load meet in a bank");
          for (int l = 0; l < 32; ++l) {
            for (int h = 0; h < 2; ++h) {
              const int major = l / 4, minor = l % 4 * 2 + h;
              const unsigned char* from = turned ? rows[minor] + major * 2 : rows[major] + minor * 2;
              std::memcpy((unsigned char*)&((MatrixRow*)slots[l])->r[m] + 2 * h, from, 2);
            }
          }
        }
      },
      &slot, file, line);
  for (int m = 0; m < 4; ++m) r[m] = slot.r[m];
}
}  // namespace spc_emu

SPC_FN void spc_load_matrices(u32 (&r)[4], const void* row, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  spc_emu::load_matrices(r, row, false, file, line);
}
SPC_FN void spc_load_turned(u32 (&r)[4], const void* row, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  spc_emu::load_matrices(r, row, true, file, line);
}

template <int H>
SPC_FN void spc_mma24_step(float (&d)[4], const spc_w4& a, const u32 (&b)[4], u32 meta, const char* file = __builtin_FILE(),
                           int line = __builtin_LINE()) {
  struct Slot {
    u32 a[4], b[4], meta;
    float d[4];
  };
  Slot slot = {{a.x, a.y, a.z, a.w}, {b[0], b[1], b[2], b[3]}, meta, {d[0], d[1], d[2], d[3]}};
  spc_emu::meet(
      [](void* const* slots) {
        const auto half = [](u32 word, int h) { return spc_bits(h ? word & 0xffff0000u : word << 16); };
        float kept[16][16], sums[16][8];
        int column[16][16];
        float right[32][8];
        for (int l = 0; l < 32; ++l) {
          const Slot& s = *(const Slot*)slots[l];
          const int g = l / 4, t = l % 4;
          for (int r = 0; r < 4; ++r) {
            const int row = g + 8 * (r % 2), group = 4 * (r / 2) + t;
            const u32 code = ((const Slot*)slots[l / 4 * 4 + 2 * H + r / 2])->meta >> (16 * (r % 2) + 4 * t) & 15;
            if ((code & 3) >= code >> 2) spc_emu::fail("positions of kept weights do not ascend");
            for (int h = 0; h < 2; ++h) {
              kept[row][2 * group + h] = half(s.a[r], h);
              column[row][2 * group + h] = 4 * group + (int)(h ? code >> 2 : code & 3);
              right[8 * r + 2 * t + h][g] = half(s.b[r], h);
            }
          }
          for (int c = 0; c < 4; ++c) sums[g + 8 * (c / 2)][2 * t + c % 2] = s.d[c];
        }
        for (int row = 0; row < 16; ++row) {
          for (int i = 0; i < 16; ++i) {
            const float* x = right[column[row][i]];
            for (int n = 0; n < 8; ++n) sums[row][n] += kept[row][i] * x[n];
          }
        }
        for (int l = 0; l < 32; ++l) {
          for (int c = 0; c < 4; ++c) ((Slot*)slots[l])->d[c] = sums[l / 4 + 8 * (c / 2)][2 * (l % 4) + c % 2];
        }
      },
      &slot, file, line);
  for (int c = 0; c < 4; ++c) d[c] = slot.d[c];
}

SPC_FN u32 spc_word_from(u32 a, int lane, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  struct Slot {
    u32 a;
    int lane;
    u32 got;
  };
  Slot slot = {a, lane, 0u};
  spc_emu::meet(
      [](void* const* slots) {
        for (int l = 0; l < 32; ++l) ((Slot*)slots[l])->got = ((Slot*)slots[((Slot*)slots[l])->lane & 31])->a;
      },
      &slot, file, line);
  return slot.got;
}

SPC_FN float spc_lane_xor(float a, int m, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  return spc_bits(spc_word_from(spc_word(a), ((int)threadIdx.x & 31) ^ m, file, line));
}

SPC_FN void spc_mma_step(float (&d)[4], const spc_w4& a, u32 b0, u32 b1, const char* file = __builtin_FILE(),
                         int line = __builtin_LINE()) {
  struct Slot {
    u32 a[4], b[2];
    float d[4];
  };
  Slot slot = {{a.x, a.y, a.z, a.w}, {b0, b1}, {d[0], d[1], d[2], d[3]}};
  spc_emu::meet(
      [](void* const* slots) {
        const auto half = [](u32 word, int h) { return spc_bits(h ? word & 0xffff0000u : word << 16); };
        float left[16][16], right[16][8], sums[16][8];
        for (int l = 0; l < 32; ++l) {
          const Slot& s = *(const Slot*)slots[l];
          const int g = l / 4, t = l % 4;
          for (int h = 0; h < 2; ++h) {
            for (int r = 0; r < 4; ++r) left[g + 8 * (r % 2)][8 * (r / 2) + 2 * t + h] = half(s.a[r], h);
            for (int r = 0; r < 2; ++r) right[8 * r + 2 * t + h][g] = half(s.b[r], h);
          }
          for (int c = 0; c < 4; ++c) sums[g + 8 * (c / 2)][2 * t + c % 2] = s.d[c];
        }
        for (int row = 0; row < 16; ++row) {
          for (int k = 0; k < 16; ++k) {
            for (int n = 0; n < 8; ++n) sums[row][n] += left[row][k] * right[k][n];
          }
        }
        for (int l = 0; l < 32; ++l) {
          for (int c = 0; c < 4; ++c) ((Slot*)slots[l])->d[c] = sums[l / 4 + 8 * (c / 2)][2 * (l % 4) + c % 2];
        }
      },
      &slot, file, line);
  for (int c = 0; c < 4; ++c) d[c] = slot.d[c];
}

// ---- products of warp groups. A descriptor is the offset of its first byte; shared memory starts a pattern.
SPC_FN unsigned char* spc_pattern(unsigned char* p) { return p; }
SPC_FN u64 spc_descriptor(const u32* p) { return (u64)((const unsigned char*)p - spc_emu::block->smem); }
SPC_FN void spc_copies_to_products() {
  for (int& w : spc_emu::block->unfenced) w = w == spc_emu::fiber->thread_index.x + 1 ? 0 : w;
}
SPC_FN void spc_products_begin() {}
SPC_FN void spc_products_commit() {
  spc_emu::fiber->product_groups.push_back(spc_emu::fiber->products);
  spc_emu::fiber->products.clear();
}
template <int NT>
SPC_FN void spc_hold(float (&)[NT][4]) {}
SPC_FN void spc_hold(spc_w4&, u32&) {}

namespace spc_emu {
// The latest sums in flight for these registers, or the registers.
inline const float* latest(const Fiber& f, const float* to) {
  const float* found = to;
  for (const auto& group : f.product_groups) {
    for (const Product& p : group) found = p.to == to ? p.sums.data() : found;
  }
  for (const Product& p : f.products) found = p.to == to ? p.sums.data() : found;
  return found;
}

struct ProductSlot {
  u32 a[4], meta;
  u64 b;
  float* d;
  int columns;
};

inline void product24(void* const* slots) {
  const auto half = [](u32 word, int h) { return spc_bits(h ? word & 0xffff0000u : word << 16); };
  const ProductSlot& one = *(const ProductSlot*)slots[0];
  const int columns = one.columns;
  Fiber* const lanes = fiber;  // of the warp
  std::vector<float> right(32 * columns), sums(16 * columns);
  std::vector<std::pair<size_t, std::vector<unsigned char>>> seen;
  for (int n = 0; n < columns; ++n) {
    for (int piece = 0; piece < 4; ++piece) {
      size_t at = one.b + n / 8 * 1024 + n % 8 * 128 + 16 * piece;
      if ((one.b >> 7 & 7) != 0 || (one.b & 127) > 64) fail("a pattern of a product starts at another place");
      at ^= (at >> 7 & 7) << 4;
      if (at + 16 > block->smem_bytes) fail("a product reads outside of shared memory");
      if (block->unfenced[at / 16] != 0) fail("a product reads a copy that its thread has not fenced");
      seen.emplace_back(at, std::vector<unsigned char>(block->smem + at, block->smem + at + 16));
      for (int k = 0; k < 8; ++k) {
        unsigned short bits;
        std::memcpy(&bits, block->smem + at + 2 * k, 2);
        right[(8 * piece + k) * columns + n] = half(bits, 0);
      }
    }
  }
  const auto place = [](int lane, int i) { return (i / 4 * 8 + 2 * (lane % 4) + i % 2) * 16 + lane / 4 + i / 2 % 2 * 8; };
  for (int l = 0; l < 32; ++l) {
    const ProductSlot& s = *(const ProductSlot*)slots[l];
    if (s.b != one.b) fail("lanes of a product have other descriptors");
    const float* const now = latest(lanes[l], s.d);
    for (int i = 0; i < columns / 2; ++i) sums[place(l, i)] = now[i];
  }
  for (int l = 0; l < 32; ++l) {
    const ProductSlot& s = *(const ProductSlot*)slots[l];
    for (int r = 0; r < 4; ++r) {
      const int row = l / 4 + 8 * (r % 2), t = l % 4;
      const u32 code = ((const ProductSlot*)slots[l / 4 * 4 + r / 2])->meta >> (16 * (r % 2) + 4 * t) & 15;
      if ((code & 3) >= code >> 2) fail("positions of kept weights do not ascend");
      for (int h = 0; h < 2; ++h) {
        const float w = half(s.a[r], h);
        const float* const x = &right[(16 * (r / 2) + 4 * t + (int)(h ? code >> 2 : code & 3)) * columns];
        for (int n = 0; n < columns; ++n) sums[n * 16 + row] += w * x[n];
      }
    }
  }
  for (int l = 0; l < 32; ++l) {
    const ProductSlot& s = *(const ProductSlot*)slots[l];
    Product p = {s.d, std::vector<float>(columns / 2), {}};
    for (int i = 0; i < columns / 2; ++i) p.sums[i] = sums[place(l, i)];
    if (l == 0) p.seen = seen;
    lanes[l].products.push_back(p);
    std::memset(s.d, POISON, sizeof(float) * columns / 2);
  }
}
}  // namespace spc_emu

template <int NT>
SPC_FN void spc_product24(float (&d)[NT][4], const spc_w4& a, u64 b, u32 meta, const char* file = __builtin_FILE(),
                          int line = __builtin_LINE()) {
  spc_emu::ProductSlot slot = {{a.x, a.y, a.z, a.w}, meta, b, &d[0][0], 8 * NT};
  spc_emu::meet(spc_emu::product24, &slot, file, line);
}
template <int N>
SPC_FN void spc_products_wait() {
  auto& groups = spc_emu::fiber->product_groups;
  while ((int)groups.size() > N) {
    const std::vector<spc_emu::Product> done = groups.front();
    groups.erase(groups.begin());
    for (const spc_emu::Product& p : done) {
      for (const auto& s : p.seen) {
        if (std::memcmp(spc_emu::block->smem + s.first, s.second.data(), 16) != 0) {
          spc_emu::fail("shared memory changed while a product read it");
        }
      }
      if (spc_emu::latest(*spc_emu::fiber, p.to) == p.to) std::memcpy(p.to, p.sums.data(), p.sums.size() * sizeof(float));
    }
  }
}
