// ---- family i8: codes of 8 bits, codes[count][R][4] for inputs 4 * idx, one scale a row; x holds multiples of a scale of its
// own in f32. One thread an output: neighbouring threads read neighbouring codes, and share the activations.
template <class S>
SPC_FN void spc_i8(const u32* ptr, const u32* idx, const u8* codes, const u32* start, const float* scale, const float* bias,
                   const float* x, float* y, int n, float* smem) {
  (void)start;  // for kernels whose activations are unsigned
  (void)smem;
  const int row = blockIdx.x % S::TILES * SPC_THREADS + threadIdx.x, n0 = blockIdx.x / S::TILES * S::TOKENS;
  if (row >= S::O) return;
  const u32 from = spc_ldg(ptr + row / S::R), to = spc_ldg(ptr + row / S::R + 1);
  float acc[S::TOKENS];
  SPC_UNROLL
  for (int t = 0; t < S::TOKENS; ++t) acc[t] = 0.0f;
  SPC_ROLLED
  for (u32 i = from; i < to; ++i) {
    const int k = (int)spc_ldg(idx + i) * 4;
    const u32 four = spc_ldg((const u32*)codes + (long long)i * S::R + row % S::R);
    SPC_UNROLL
    for (int c = 0; c < 4; ++c) {
      const float w = (float)((int)(four << (24 - 8 * c)) >> 24);
      if (k + c >= S::K) continue;
      SPC_UNROLL
      for (int t = 0; t < S::TOKENS; ++t) {
        if (n0 + t < n) acc[t] = spc_fma(w, spc_ldg(x + (long long)(n0 + t) * S::K + k + c), acc[t]);
      }
    }
  }
  SPC_UNROLL
  for (int t = 0; t < S::TOKENS; ++t) {
    if (n0 + t < n) spc_store<S>(y, bias, n0 + t, row, acc[t] * spc_ldg(scale + row));
  }
}
