// ---- family entries: csr for few tokens. One warp a row: its lanes take every 32nd entry of the row's list, for all tokens of
// the block, and add up their sums.
template <class S>
SPC_FN void spc_entries(const u32* ptr, const u32* idx, const float* values, const float* bias, const float* x, float* y, int n,
                        float* smem) {
  (void)smem;
  const int lane = threadIdx.x & 31, row = blockIdx.x % S::TILES * SPC_WARPS + (int)(threadIdx.x >> 5);
  const int n0 = blockIdx.x / S::TILES * S::TOKENS;
  if (row >= S::O) return;
  float acc[S::TOKENS];
  SPC_UNROLL
  for (int t = 0; t < S::TOKENS; ++t) acc[t] = 0.0f;
  const u32 end = spc_ldg(ptr + row + 1);
  SPC_UNROLL_4
  for (u32 i = spc_ldg(ptr + row) + (u32)lane; i < end; i += 32) {
    const int k = (int)spc_ldg(idx + i);
    const float w = spc_ldg(values + i);
    SPC_UNROLL
    for (int t = 0; t < S::TOKENS; ++t) {
      if (n0 + t < n) acc[t] = spc_fma(w, spc_ldg(x + (long long)(n0 + t) * S::K + k), acc[t]);
    }
  }
  SPC_UNROLL
  for (int t = 0; t < S::TOKENS; ++t) {
    SPC_UNROLL
    for (int d = 16; d > 0; d /= 2) acc[t] += spc_lane_xor(acc[t], d);
    if (lane == 0 && n0 + t < n) spc_store<S>(y, bias, n0 + t, row, acc[t]);
  }
}
