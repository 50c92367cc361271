// ---- family blocks: vx1(V) is R = V, C = 1; bsr(R,C); csr is R = C = 1. Row block b stores blocks ptr[b] .. ptr[b+1);
// block i covers columns idx[i] .. idx[i] + C, ascending, with values[i][C][R]. A warp walks the lists of its row blocks
// in step with the staged columns; every weight it reads is one broadcast load for all its tokens.
template <class S>
SPC_FN void spc_blocks(const u32* ptr, const u32* idx, const float* values, const float* bias, const float* x, float* y,
                       int n, float* smem) {
  constexpr int PARTS = (S::R + S::ROWS - 1) / S::ROWS, BLOCKS = (S::O + S::R - 1) / S::R;
  constexpr int PITCH = S::TOKENS + 1, LANES = S::TOKENS / 32;
  constexpr bool WHOLE = S::STEP % S::C == 0 && S::K % S::C == 0;  // no block crosses the edge of a step
  constexpr bool QUADS = S::R % 4 == 0 && S::ROWS % 4 == 0;        // rows load four at a time
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int tile = blockIdx.x % S::TILES, n0 = blockIdx.x / S::TILES * S::TOKENS;
  const int first = (tile * SPC_WARPS + warp) * S::UNITS;
  u32 at[S::UNITS], end[S::UNITS];
  float acc[S::UNITS][S::ROWS][LANES];
  SPC_UNROLL
  for (int u = 0; u < S::UNITS; ++u) {
    const int b = (first + u) / PARTS;
    at[u] = b < BLOCKS ? spc_ldg(ptr + b) : 0;
    end[u] = b < BLOCKS ? spc_ldg(ptr + b + 1) : 0;
    SPC_UNROLL
    for (int r = 0; r < S::ROWS; ++r) {
      SPC_UNROLL
      for (int t = 0; t < LANES; ++t) acc[u][r][t] = 0.0f;
    }
  }
  SPC_ROLLED
  for (int k0 = 0; k0 < S::K; k0 += S::STEP) {
    spc_stage_x<S>(smem, x, n, n0, k0);
    spc_sync();
    SPC_UNROLL
    for (int u = 0; u < S::UNITS; ++u) {
      const int row0 = (first + u) % PARTS * S::ROWS;
      SPC_ROLLED
      for (u32 i = at[u]; i < end[u]; ++i) {
        const int k = (int)spc_ldg(idx + i);
        if (k >= k0 + S::STEP) break;
        if (k + S::C <= k0 + S::STEP) at[u] = i + 1;  // the block ends in this step
        const int from = WHOLE || k >= k0 ? 0 : k0 - k;
        const int to = WHOLE || k + S::C <= k0 + S::STEP ? S::C : k0 + S::STEP - k;
        SPC_UNROLL_4
        for (int c = from; c < to; ++c) {
          const float* xs = smem + (k + c - k0) * PITCH + lane;
          const float* row = values + ((long long)i * S::C + c) * S::R + row0;
          float w[S::ROWS];
          SPC_UNROLL
          for (int r = 0; r < S::ROWS; r += QUADS ? 4 : 1) {
            if constexpr (QUADS) {
              const spc_f4 v = spc_ldg4(row + r);
              w[r] = v.x;
              w[r + 1] = v.y;
              w[r + 2] = v.z;
              w[r + 3] = v.w;
            } else {
              w[r] = S::R % S::ROWS == 0 || row0 + r < S::R ? spc_ldg(row + r) : 0.0f;
            }
          }
          SPC_UNROLL
          for (int t = 0; t < LANES; ++t) {
            const float xv = xs[32 * t];
            SPC_UNROLL
            for (int r = 0; r < S::ROWS; ++r) acc[u][r][t] = spc_fma(w[r], xv, acc[u][r][t]);
          }
        }
      }
    }
    spc_sync();
  }
  spc_store_rows<S>(acc, smem, bias, y, n, n0, tile);
}
