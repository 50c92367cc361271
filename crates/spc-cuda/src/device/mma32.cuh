// ---- family mma32: blocks of R = 32 * WM rows by 32 columns in the order of tensor cores, values[count][R / 16][2][32][4];
// row block b has the blocks ptr[b] .. ptr[b + 1), at columns 32 * idx; times xb[TERMS][N][KP]. A block of threads computes
// one row block for 8 * NT * WN tokens; WK warps share its list, each takes KT of the WK * KT blocks of a step. Weights go
// straight to registers, one step ahead; x comes through STAGES stages of shared memory. The sums of the WK warps are added
// in order.
template <class S>
SPC_FN void spc_mma32(const u32* ptr, const u32* idx, const u32* values, const float* bias, const u32* xb, float* y, int n,
                      float* smem) {
  constexpr int WIDTH = S::KT * S::WK, PITCH = WIDTH * 16 + 4, PIECES = WIDTH * 4, STAGE = S::TERMS * S::TOKENS * PITCH;
  constexpr int THREADS = 32 * S::WM * S::WN * S::WK, ROWS = 32 * S::WM, OUT = ROWS + 4;
  u32* const xs = (u32*)smem;  // [STAGES][TERMS][TOKENS][PITCH]
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int wk = warp % S::WK, wn = warp / S::WK % S::WN, wm = warp / (S::WK * S::WN);
  const int n0 = blockIdx.x / S::TILES * S::TOKENS, block = blockIdx.x % S::TILES;
  const int first = (int)spc_ldg(ptr + block), count = (int)spc_ldg(ptr + block + 1) - first;
  const int steps = (count + WIDTH - 1) / WIDTH;
  float acc[2][S::NT][4];
  SPC_UNROLL
  for (int h = 0; h < 2; ++h) {
    SPC_UNROLL
    for (int j = 0; j < S::NT; ++j) {
      SPC_UNROLL
      for (int c = 0; c < 4; ++c) acc[h][j][c] = 0.0f;
    }
  }
  auto stage = [&](int step) {
    SPC_ROLLED
    for (int i = threadIdx.x; i < S::TERMS * S::TOKENS * PIECES; i += THREADS) {
      const int piece = i % PIECES, row = i / PIECES, token = n0 + row % S::TOKENS, at = step * WIDTH + piece / 4;
      const bool inside = token < n && at < count;
      const int k = inside ? (int)spc_ldg(idx + first + at) * 32 + piece % 4 * 8 : 0;
      const u32* from = xb + (((long long)(row / S::TOKENS) * n + token) * S::KP + k) / 2;
      spc_copy16(xs + step % S::STAGES * STAGE + row * PITCH + piece * 4, inside ? from : xb, inside ? 16 : 0);
    }
  };
  spc_w4 a[S::KT][2][2], a_next[S::KT][2][2];
  auto fetch = [&](int step, spc_w4 (&to)[S::KT][2][2]) {
    SPC_UNROLL
    for (int j = 0; j < S::KT; ++j) {
      const int at = (step * S::WK + wk) * S::KT + j;
      SPC_UNROLL
      for (int h = 0; h < 2; ++h) {
        SPC_UNROLL
        for (int s = 0; s < 2; ++s) {
          const long long part = ((long long)(first + at) * (ROWS / 16) + wm * 2 + h) * 2 + s;
          to[j][h][s] = at < count ? spc_stream4(values + (part * 32 + lane) * 4) : spc_w4{0u, 0u, 0u, 0u};
        }
      }
    }
  };
  SPC_UNROLL
  for (int s = 0; s < S::STAGES - 1; ++s) {
    if (s < steps) stage(s);
    spc_copy_commit();
  }
  fetch(0, a);
  SPC_ROLLED
  for (int step = 0; step < steps; ++step) {
    spc_copy_wait<S::STAGES - 2>();
    spc_sync();
    if (step + S::STAGES - 1 < steps) stage(step + S::STAGES - 1);
    spc_copy_commit();
    fetch(step + 1, a_next);
    const u32* const now = xs + step % S::STAGES * STAGE + (wn * S::NT * 8 + (lane & 7)) * PITCH + (lane >> 3) * 4;
    SPC_UNROLL
    for (int j = 0; j < S::KT; ++j) {
      SPC_UNROLL
      for (int t = 0; t < S::TERMS; ++t) {
        SPC_UNROLL
        for (int i = 0; i < S::NT; ++i) {
          u32 b[4];
          spc_load_matrices(b, now + (t * S::TOKENS + i * 8) * PITCH + (wk * S::KT + j) * 16);
          SPC_UNROLL
          for (int h = 0; h < 2; ++h) {
            spc_mma_step(acc[h][i], a[j][h][0], b[0], b[1]);
            spc_mma_step(acc[h][i], a[j][h][1], b[2], b[3]);
          }
        }
      }
    }
    SPC_UNROLL
    for (int j = 0; j < S::KT; ++j) {
      SPC_UNROLL
      for (int h = 0; h < 2; ++h) {
        a[j][h][0] = a_next[j][h][0];
        a[j][h][1] = a_next[j][h][1];
      }
    }
  }
  spc_store_tiles<S, ROWS, OUT, THREADS>(acc, smem, bias, y, n, n0, wk, wm, wn, lane);
}
