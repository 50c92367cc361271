// A program that runs emitted kernels on spc_emu.hpp. Include the kernels first, then this file, then define a table:
//
//   static const spc_emu::Kernel kernels[] = {{"name", [](void* const* a) { name((const float*)a[0], *(const int*)a[1]); }}};
//   int main(int argc, char** argv) { return spc_emu::run(kernels, 1, argc, argv); }
//
// usage: program JOBS RESULTS. JOBS is a list of launches, integers little-endian:
//   u32 jobs, then for each: u32 length, name; u32 grid; u32 block; u32 shared bytes; u32 parameters, then for each:
//     u32 0, u64 bytes, the bytes  (a buffer to read) | u32 1, u64 bytes  (a buffer to write) | u32 2, i32  (a number)
//     | u32 3, u64 bytes, the bytes  (a buffer to read and write)
// RESULTS gets the written buffers in order. Every job runs under every schedule; all must give the same bits.
#pragma once
#include "spc_emu.hpp"

namespace spc_emu {

struct Kernel {
  const char* name;
  void (*call)(void* const*);
};

struct Parameter {
  u32 kind;
  uint64_t bytes;
  unsigned char* buffer;
  int32_t number;
  std::vector<unsigned char> start;  // of a buffer that is read and written
};

class Reader {
 public:
  explicit Reader(const char* path) : file_(std::fopen(path, "rb")) {
    if (!file_) fail(std::string("cannot open ") + path);
  }
  ~Reader() { std::fclose(file_); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  void bytes(void* to, size_t n) {
    if (std::fread(to, 1, n, file_) != n) fail("the list of jobs ends early");
  }
  template <class T>
  T value() {
    T v;
    bytes(&v, sizeof v);
    return v;
  }

 private:
  FILE* file_;
};

struct Call {
  void (*call)(void* const*);
  std::vector<void*> arguments;
};

inline void run_job(const Kernel* kernels, size_t count, Reader& in, FILE* out) {
  std::string name(in.value<u32>(), ' ');
  in.bytes(name.data(), name.size());
  const int grid = (int)in.value<u32>(), threads = (int)in.value<u32>();
  const u32 shared = in.value<u32>();
  std::vector<Parameter> parameters(in.value<u32>());
  for (Parameter& p : parameters) {
    p = {};
    p.kind = in.value<u32>();
    if (p.kind == 2) {
      p.number = in.value<int32_t>();
      continue;
    }
    p.bytes = in.value<uint64_t>();
    p.buffer = allocate(p.bytes);
    if (p.kind == 0) in.bytes(p.buffer, p.bytes);
    if (p.kind == 3) {
      p.start.resize(p.bytes);
      in.bytes(p.start.data(), p.bytes);
    }
  }
  Call call = {};
  for (size_t i = 0; i < count; ++i) {
    if (name == kernels[i].name) call.call = kernels[i].call;
  }
  if (!call.call) fail("no kernel " + name);
  readable.clear();
  for (Parameter& p : parameters) {
    call.arguments.push_back(p.kind == 2 ? (void*)&p.number : (void*)p.buffer);
    if (p.kind == 0 || p.kind == 3) readable.push_back({p.buffer, p.buffer + p.bytes});
  }
  std::vector<std::vector<unsigned char>> first;
  for (int s = 0; s < SCHEDULES; ++s) {
    running = name + ", schedule " + schedule_names[s];
    for (Parameter& p : parameters) {
      if (p.kind == 1) std::memset(p.buffer, POISON, p.bytes);
      if (p.kind == 3) std::memcpy(p.buffer, p.start.data(), p.bytes);
    }
    auto body = [](void* c) { ((Call*)c)->call(((Call*)c)->arguments.data()); };
    launch(body, &call, grid, threads, shared, (Schedule)s);
    size_t at = 0;
    for (Parameter& p : parameters) {
      if (p.kind == 2) continue;
      if (!untouched_around(p.buffer, p.bytes)) fail("a store lies outside its buffer");
      if (p.kind != 1 && p.kind != 3) continue;
      if (s == 0) {
        first.emplace_back(p.buffer, p.buffer + p.bytes);
      } else if (std::memcmp(first[at].data(), p.buffer, p.bytes) != 0) {
        fail("the result depends on the schedule");
      }
      ++at;
    }
  }
  for (const auto& bytes : first) {
    if (std::fwrite(bytes.data(), 1, bytes.size(), out) != bytes.size()) fail("cannot write results");
  }
  for (Parameter& p : parameters) {
    if (p.kind != 2) release(p.buffer, p.bytes);
  }
}

inline int run(const Kernel* kernels, size_t count, int argc, char** argv) {
  if (argc != 3) fail("usage: program JOBS RESULTS");
  catch_traps();
  Reader in(argv[1]);
  FILE* out = std::fopen(argv[2], "wb");
  if (!out) fail(std::string("cannot open ") + argv[2]);
  const u32 jobs = in.value<u32>();
  for (u32 i = 0; i < jobs; ++i) run_job(kernels, count, in, out);
  if (std::fclose(out) != 0) fail("cannot write results");
  return 0;
}

}  // namespace spc_emu
