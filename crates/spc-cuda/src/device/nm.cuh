// ---- family nm: row o stores NN entries for each group of M columns, values[o][group][NN] at columns
// group * M + idx[o][group][NN]. A step stages whole groups. A unit is one row (R = ROWS = 1).
template <class S>
SPC_FN void spc_nm(const u8* idx, const float* values, const float* bias, const float* x, float* y, int n, float* smem) {
  constexpr int GROUPS = (S::K + S::M - 1) / S::M;
  constexpr int PITCH = S::TOKENS + 1, LANES = S::TOKENS / 32;
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int tile = blockIdx.x % S::TILES, n0 = blockIdx.x / S::TILES * S::TOKENS;
  const int first = (tile * SPC_WARPS + warp) * S::UNITS;
  float acc[S::UNITS][1][LANES];
  SPC_UNROLL
  for (int u = 0; u < S::UNITS; ++u) {
    SPC_UNROLL
    for (int t = 0; t < LANES; ++t) acc[u][0][t] = 0.0f;
  }
  SPC_ROLLED
  for (int k0 = 0; k0 < S::K; k0 += S::STEP) {
    spc_stage_x<S>(smem, x, n, n0, k0);
    spc_sync();
    const int g0 = k0 / S::M, g1 = g0 + S::STEP / S::M < GROUPS ? g0 + S::STEP / S::M : GROUPS;
    SPC_ROLLED
    for (int g = g0; g < g1; ++g) {
      SPC_UNROLL
      for (int u = 0; u < S::UNITS; ++u) {
        if (first + u < S::O) {
          const long long entry = ((long long)(first + u) * GROUPS + g) * S::NN;
          SPC_UNROLL_4
          for (int j = 0; j < S::NN; ++j) {
            const int k = g * S::M + (int)spc_ldg(idx + entry + j);
            const float w = spc_ldg(values + entry + j);
            SPC_UNROLL
            for (int t = 0; t < LANES; ++t) {
              acc[u][0][t] = spc_fma(w, smem[(k - k0) * PITCH + lane + 32 * t], acc[u][0][t]);
            }
          }
        }
      }
    }
    spc_sync();
  }
  spc_store_rows<S>(acc, smem, bias, y, n, n0, tile);
}
