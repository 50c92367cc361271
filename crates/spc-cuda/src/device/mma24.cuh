// ---- family mma24: 2:4 weights in the order of sparse tensor cores, values[B][T][2][32][4] and meta[B][T][32] (tiles of 32
// rows by 32 columns, B = ceil(O / 32), T = KP / 32), times xb[TERMS][N][KP]. A block computes 32 * WM outputs for 8 * NT * WN
// tokens; WK warps share a tile of outputs, each takes KT of the WK * KT tiles of columns of a step. Weights go straight to
// registers, one step ahead; x comes through STAGES stages of shared memory. The sums of the WK warps are added in order.
template <class S>
SPC_FN void spc_mma24(const u32* values, const u32* meta, const float* bias, const u32* xb, float* y, int n, float* smem) {
  constexpr int BLOCKS = (S::O + 31) / 32, TILES_K = S::KP / 32, WIDTH = S::KT * S::WK, STEPS = (TILES_K + WIDTH - 1) / WIDTH;
  constexpr int PITCH = WIDTH * 16 + 4, PIECES = WIDTH * 4, STAGE = S::TERMS * S::TOKENS * PITCH;
  constexpr int THREADS = 32 * S::WM * S::WN * S::WK, ROWS = 32 * S::WM, OUT = ROWS + 4;
  u32* const xs = (u32*)smem;  // [STAGES][TERMS][TOKENS][PITCH]
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int wk = warp % S::WK, wn = warp / S::WK % S::WN, wm = warp / (S::WK * S::WN);
  const int n0 = blockIdx.x / S::TILES * S::TOKENS, block = blockIdx.x % S::TILES * S::WM + wm;
  float acc[2][S::NT][4];
  SPC_UNROLL
  for (int h = 0; h < 2; ++h) {
    SPC_UNROLL
    for (int j = 0; j < S::NT; ++j) {
      SPC_UNROLL
      for (int c = 0; c < 4; ++c) acc[h][j][c] = 0.0f;
    }
  }
  // Pieces of 16 bytes: neighbouring threads copy neighbouring columns of a token.
  auto stage = [&](int step) {
    SPC_ROLLED
    for (int i = threadIdx.x; i < S::TERMS * S::TOKENS * PIECES; i += THREADS) {
      const int piece = i % PIECES, row = i / PIECES, token = n0 + row % S::TOKENS, k = (step * PIECES + piece) * 8;
      const bool inside = token < n && k < S::KP;
      const u32* from = xb + (((long long)(row / S::TOKENS) * n + token) * S::KP + k) / 2;
      spc_copy16(xs + step % S::STAGES * STAGE + row * PITCH + piece * 4, inside ? from : xb, inside ? 16 : 0);
    }
  };
  spc_w4 a[S::KT][2], a_next[S::KT][2];
  u32 e[S::KT], e_next[S::KT];
  auto fetch = [&](int step, spc_w4 (&to)[S::KT][2], u32 (&to_meta)[S::KT]) {
    SPC_UNROLL
    for (int j = 0; j < S::KT; ++j) {
      const int tile = (step * S::WK + wk) * S::KT + j;
      if (block < BLOCKS && tile < TILES_K) {
        const long long at = (long long)block * TILES_K + tile;
        to[j][0] = spc_stream4(values + (at * 64 + lane) * 4);
        to[j][1] = spc_stream4(values + (at * 64 + 32 + lane) * 4);
        to_meta[j] = spc_stream(meta + at * 32 + lane);
      } else {
        to[j][0] = spc_w4{0u, 0u, 0u, 0u};
        to[j][1] = spc_w4{0u, 0u, 0u, 0u};
        to_meta[j] = 0x44444444u;  // positions 0 and 1
      }
    }
  };
  SPC_UNROLL
  for (int s = 0; s < S::STAGES - 1; ++s) {
    if (s < STEPS) stage(s);
    spc_copy_commit();
  }
  fetch(0, a, e);
  SPC_ROLLED
  for (int step = 0; step < STEPS; ++step) {
    spc_copy_wait<S::STAGES - 2>();
    spc_sync();
    if (step + S::STAGES - 1 < STEPS) stage(step + S::STAGES - 1);
    spc_copy_commit();
    fetch(step + 1, a_next, e_next);
    const u32* const now = xs + step % S::STAGES * STAGE + (wn * S::NT * 8 + (lane & 7)) * PITCH + (lane >> 3) * 4;
    SPC_UNROLL
    for (int j = 0; j < S::KT; ++j) {
      SPC_UNROLL
      for (int t = 0; t < S::TERMS; ++t) {
        SPC_UNROLL
        for (int i = 0; i < S::NT; ++i) {
          u32 b[4];
          spc_load_matrices(b, now + (t * S::TOKENS + i * 8) * PITCH + (wk * S::KT + j) * 16);
          spc_mma24_step<0>(acc[0][i], a[j][0], b, e[j]);
          spc_mma24_step<1>(acc[1][i], a[j][1], b, e[j]);
        }
      }
    }
    SPC_UNROLL
    for (int j = 0; j < S::KT; ++j) {
      a[j][0] = a_next[j][0];
      a[j][1] = a_next[j][1];
      e[j] = e_next[j];
    }
  }
  spc_store_tiles<S, ROWS, OUT, THREADS>(acc, smem, bias, y, n, n0, wk, wm, wn, lane);
}
