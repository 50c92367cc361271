// ---- family dense: values[panel][K][P], panel = o / P. A block computes 64 outputs for 64 tokens from tiles of w and x in
// shared memory; a thread has 4 outputs (16 apart) by 8 tokens (8 apart), so that half a warp reads and writes 16
// neighbouring outputs.
template <class S>
SPC_FN void spc_dense(const float* values, const float* bias, const float* x, float* y, int n, float* smem) {
  constexpr int OUTS = 64, PITCH = S::TOKENS + 1, LANES = S::TOKENS / 8;
  float* const xs = smem;                    // [STEP][PITCH]
  float* const ws = smem + S::STEP * PITCH;  // [STEP][OUTS]
  const int oo = threadIdx.x % 16, tt = threadIdx.x / 16;
  const int o0 = blockIdx.x % S::TILES * OUTS, n0 = blockIdx.x / S::TILES * S::TOKENS;
  float acc[4][LANES];
  SPC_UNROLL
  for (int i = 0; i < 4; ++i) {
    SPC_UNROLL
    for (int j = 0; j < LANES; ++j) acc[i][j] = 0.0f;
  }
  SPC_ROLLED
  for (int k0 = 0; k0 < S::K; k0 += S::STEP) {
    spc_stage_x<S>(xs, x, n, n0, k0);
    SPC_UNROLL_4
    for (int i = threadIdx.x; i < S::STEP * OUTS; i += SPC_THREADS) {
      const int k = k0 + i / OUTS, o = o0 + i % OUTS;
      ws[i] = k < S::K && o < S::O ? spc_ldg(values + ((long long)(o / S::P) * S::K + k) * S::P + o % S::P) : 0.0f;
    }
    spc_sync();
    SPC_UNROLL_4
    for (int k = 0; k < S::STEP; ++k) {
      float w[4];
      SPC_UNROLL
      for (int i = 0; i < 4; ++i) w[i] = ws[k * OUTS + oo + 16 * i];
      SPC_UNROLL
      for (int j = 0; j < LANES; ++j) {
        const float xv = xs[k * PITCH + tt + 8 * j];
        SPC_UNROLL
        for (int i = 0; i < 4; ++i) acc[i][j] = spc_fma(w[i], xv, acc[i][j]);
      }
    }
    spc_sync();
  }
  SPC_UNROLL
  for (int j = 0; j < LANES; ++j) {
    SPC_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int o = o0 + oo + 16 * i, t = n0 + tt + 8 * j;
      if (o < S::O && t < n) spc_store<S>(y, bias, t, o, acc[i][j]);
    }
  }
}
