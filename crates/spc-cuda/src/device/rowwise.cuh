// ---- family csr: rows of entries for few tokens. A warp takes whole rows, its lanes neighbouring entries, so columns and values
// are read once and side by side; the sums of the lanes are added in a fixed order. Row o has the entries ptr[o] .. ptr[o + 1). A
// block of threads computes 32 outputs for TOKENS tokens; with STAGED their activations lie in shared memory, and entries of a row
// are dealt out so that those of 32 lanes lie in as many banks as they can.
template <class S>
SPC_FN void spc_csr(const u32* ptr, const u32* idx, const float* values, const float* bias, const float* x, float* y, int n,
                    float* smem) {
  constexpr int ROWS = 32, EACH = ROWS / SPC_WARPS, PITCH = ROWS + 1;
  float* const ys = smem;                         // [TOKENS][PITCH]
  float* const xs = smem + S::TOKENS * PITCH;     // [TOKENS][K]
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int o0 = blockIdx.x % S::TILES * ROWS, n0 = blockIdx.x / S::TILES * S::TOKENS;
  if constexpr (S::STAGED != 0) {
    SPC_UNROLL_4
    for (int i = threadIdx.x; i < S::TOKENS * S::K; i += SPC_THREADS) {
      xs[i] = n0 + i / S::K < n ? spc_ldg(x + (long long)n0 * S::K + i) : 0.0f;
    }
    spc_sync();
  }
  SPC_ROLLED
  for (int r = 0; r < EACH; ++r) {
    const int row = warp * EACH + r;
    if (o0 + row >= S::O) break;
    const u32 from = spc_ldg(ptr + o0 + row), to = spc_ldg(ptr + o0 + row + 1);
    float acc[S::TOKENS];
    SPC_UNROLL
    for (int t = 0; t < S::TOKENS; ++t) acc[t] = 0.0f;
    SPC_ROLLED
    for (u32 i = from + (u32)lane; i < to; i += 32u) {
      const int k = (int)spc_ldg(idx + i);
      const float w = spc_ldg(values + i);
      SPC_UNROLL
      for (int t = 0; t < S::TOKENS; ++t) {
        if constexpr (S::STAGED != 0) {
          acc[t] = spc_fma(w, xs[t * S::K + k], acc[t]);
        } else {
          if (n0 + t < n) acc[t] = spc_fma(w, spc_ldg(x + (long long)(n0 + t) * S::K + k), acc[t]);
        }
      }
    }
    SPC_UNROLL
    for (int t = 0; t < S::TOKENS; ++t) {
      SPC_UNROLL
      for (int d = 16; d > 0; d /= 2) acc[t] += spc_lane_xor(acc[t], d);
      if (lane == 0) ys[t * PITCH + row] = acc[t];
    }
  }
  spc_sync();
  SPC_UNROLL
  for (int i = threadIdx.x; i < S::TOKENS * ROWS; i += SPC_THREADS) {
    const int t = i / ROWS, o = o0 + i % ROWS;
    if (o < S::O && n0 + t < n) spc_store<S>(y, bias, n0 + t, o, ys[t * PITCH + i % ROWS]);
  }
}
