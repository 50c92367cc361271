// ---- family wgmma: mma24 times xb on the warp groups of compute capability 9.0a, for many tokens. A block of threads, two groups
// of four warps, computes 128 outputs for 8 * NT tokens. A group multiplies 64 rows at once: each warp has the values of its 16
// rows in registers, in the order of mma24, one step of 64 columns ahead, and the rows of x lie in shared memory as the
// descriptor says: 128 bytes of a token, the number of each 16 bytes xored with the token's number of eight. The positions of a
// row are those of mma24 too, in the first two lanes of a quad. A product reads its registers and its stage until it is waited
// for, so the next values are fetched, and the stage before is copied to, once the product before is complete.
#if defined(__CUDA_ARCH_FEAT_SM90_ALL) || defined(SPC_EMU)
#define SPC_WGMMA
#if !defined(SPC_EMU)
// Where a pattern of the 128-byte swizzle may start.
SPC_FN unsigned char* spc_pattern(unsigned char* p) { return p + (0u - spc_shared(p) & 1023u); }
// Rows of 128 bytes, eight of them a pattern, patterns side by side.
SPC_FN u64 spc_descriptor(const u32* p) { return (u64)(spc_shared(p) >> 4 & 0x3fffu) | 1ull << 16 | 64ull << 32 | 1ull << 62; }
// What this thread has copied to shared memory is there for products, after a barrier for those of all warps.
SPC_FN void spc_copies_to_products() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
// Before the first product of a group, and after a register of one was written.
SPC_FN void spc_products_begin() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
SPC_FN void spc_products_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Until all but the N latest groups of products are complete.
template <int N>
SPC_FN void spc_products_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}
// Sums are neither read nor written before this place after it, nor the other way round.
template <int NT>
SPC_FN void spc_hold(float (&d)[NT][4]) {
  SPC_UNROLL
  for (int i = 0; i < NT; ++i) {
    SPC_UNROLL
    for (int c = 0; c < 4; ++c) asm volatile("" : "+f"(d[i][c])::"memory");
  }
}
// These words are in registers before this place, constants too.
SPC_FN void spc_hold(spc_w4& a, u32& e) {
  asm volatile("" : "+r"(a.x), "+r"(a.y), "+r"(a.z), "+r"(a.w), "+r"(e)::"memory");
}
@PRODUCTS@#endif
template <class S>
SPC_FN void spc_wgmma(const u32* values, const u32* meta, const float* bias, const u32* xb, float* y, int n, float* smem) {
  constexpr int T = S::TILES_K, STEPS = (T + 3) / 4 * 2, TOKENS = S::TOKENS, STAGES = 4;
  constexpr int TERM = TOKENS * 32, STAGE = S::TERMS * TERM, THREADS = 256, ROWS = 128;
  u32* const xs = (u32*)spc_pattern((unsigned char*)smem);  // [STAGES][TERMS][TOKENS][32]
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int tile = blockIdx.x % S::TILES, n0 = blockIdx.x / S::TILES * TOKENS;
  // The 16 rows of this warp: half `warp & 1` of a tile of 32.
  const int rows = tile * 4 + (warp >> 1);
  const bool present = rows * 32 < S::ROWS_STORED;
  const u32* const own = values + ((long long)rows * T * 2 + (warp & 1)) * 128 + lane * 4;
  const u32* const codes = meta + (long long)rows * T * 32 + (lane & 28) + 2 * (warp & 1) + (lane & 1);
  float acc[1][S::NT][4];
  SPC_UNROLL
  for (int i = 0; i < S::NT; ++i) {
    SPC_UNROLL
    for (int c = 0; c < 4; ++c) acc[0][i][c] = 0.0f;
  }
  auto stage = [&](int step) {
    if (step < STEPS) {
      SPC_ROLLED
      for (int i = threadIdx.x; i < S::TERMS * TOKENS * 8; i += THREADS) {
        const int piece = i % 8, row = i / 8, token = n0 + row % TOKENS, term = row / TOKENS, k = step * 64 + piece * 8;
        const bool inside = token < n && k < S::KP;
        const u32* const from = inside ? xb + (((long long)term * n + token) * S::KP + k) / 2 : xb;
        spc_copy16(xs + step % STAGES * STAGE + row * 32 + (piece ^ (row & 7)) * 4, from, inside ? 16 : 0);
      }
    }
    spc_copy_commit();
  };
  spc_w4 a[2][2];
  u32 e[2][2];
  auto fetch = [&](int step, spc_w4 (&to)[2], u32 (&to_codes)[2]) {
    SPC_UNROLL
    for (int j = 0; j < 2; ++j) {
      const int t = step * 2 + j;
      const bool inside = present && t < T;
      to[j] = inside ? spc_stream4(own + (long long)t * 256) : spc_w4{0u, 0u, 0u, 0u};
      to_codes[j] = inside ? spc_stream(codes + (long long)t * 32) : 0x44444444u;  // positions 0 and 1
    }
  };
  stage(0);
  stage(1);
  fetch(0, a[0], e[0]);
  SPC_ROLLED
  for (int step = 0; step < STEPS; step += 2) {
    SPC_UNROLL
    for (int p = 0; p < 2; ++p) {
      const int now = step + p;
      spc_copy_wait<1>();
      spc_copies_to_products();
      spc_sync();
      spc_hold(acc[0]);
      SPC_UNROLL
      for (int j = 0; j < 2; ++j) spc_hold(a[p][j], e[p][j]);
      spc_products_begin();
      SPC_UNROLL
      for (int j = 0; j < 2; ++j) {
        SPC_UNROLL
        for (int t = 0; t < S::TERMS; ++t) {
          spc_product24(acc[0], a[p][j], spc_descriptor(xs + now % STAGES * STAGE + t * TERM + j * 16), e[p][j]);
        }
      }
      spc_products_commit();
      spc_products_wait<1>();
      fetch(now + 1, a[1 - p], e[1 - p]);
      stage(now + 2);
    }
  }
  spc_products_wait<0>();
  spc_hold(acc[0]);
  spc_copy_wait<0>();
  spc_store_tiles<S, ROWS, ROWS + 4, THREADS>(acc, smem, bias, y, n, n0, 0, 0, warp, 0, lane);
}
#endif
