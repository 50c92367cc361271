// ---- family terms: x [N][K] in f32 as bf16 numbers xb[TERMS][N][KP], KP = K rounded up to 32, zeros past K. One term is x
// rounded to nearest, ties to even. Three terms add up to x exactly: each takes the upper bits that the ones before left.
template <class S>
SPC_FN u32 spc_term(float& rest) {
  const u32 bits = spc_word(rest);
  if (rest != rest) {
    rest = 0.0f;
    return 0x7fc0u;
  }
  if (S::TERMS == 1) return (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
  rest = (bits & 0x7fffffffu) == 0x7f800000u ? 0.0f : rest - spc_bits(bits & 0xffff0000u);
  return bits >> 16;
}
// As xb[TERMS][K][NP], NP = N rounded up to 16, zeros past N: neighbouring tokens of a column lie together. Two threads take
// 16 tokens of a column; a warp reads 16 neighbouring columns of a token.
template <class S>
SPC_FN void spc_turned(const float* x, u32* xb, int n) {
  const int np = (n + 15) / 16 * 16, k = blockIdx.x % S::TILES * (SPC_THREADS / 2) + (threadIdx.x >> 1);
  const int token = blockIdx.x / S::TILES * 16 + (threadIdx.x & 1) * 8;
  if (k >= S::K) return;
  float v[8];
  SPC_UNROLL
  for (int i = 0; i < 8; ++i) v[i] = token + i < n ? spc_ldg(x + (long long)(token + i) * S::K + k) : 0.0f;
  SPC_UNROLL
  for (int t = 0; t < S::TERMS; ++t) {
    u32 w[4];
    SPC_UNROLL
    for (int i = 0; i < 4; ++i) {
      const u32 low = spc_term<S>(v[2 * i]);
      w[i] = low | spc_term<S>(v[2 * i + 1]) << 16;
    }
    *(spc_w4*)(xb + (((long long)t * S::K + k) * np + token) / 2) = spc_w4{w[0], w[1], w[2], w[3]};
  }
}
template <class S>
SPC_FN void spc_terms(const float* x, u32* xb, int n) {
  const int token = blockIdx.x / S::TILES, k = (blockIdx.x % S::TILES * SPC_THREADS + threadIdx.x) * 4;
  if (k >= S::KP) return;
  const float* row = x + (long long)token * S::K + k;
  float v[4];
  if constexpr (S::K % 4 == 0) {
    const spc_f4 f = k < S::K ? spc_ldg4(row) : spc_f4{0.0f, 0.0f, 0.0f, 0.0f};
    v[0] = f.x;
    v[1] = f.y;
    v[2] = f.z;
    v[3] = f.w;
  } else {
    SPC_UNROLL
    for (int i = 0; i < 4; ++i) v[i] = k + i < S::K ? spc_ldg(row + i) : 0.0f;
  }
  SPC_UNROLL
  for (int t = 0; t < S::TERMS; ++t) {
    u32 w[2];
    SPC_UNROLL
    for (int i = 0; i < 2; ++i) {
      const u32 low = spc_term<S>(v[2 * i]);
      w[i] = low | spc_term<S>(v[2 * i + 1]) << 16;
    }
    *(spc_w2*)(xb + (((long long)t * n + token) * S::KP + k) / 2) = spc_w2{w[0], w[1]};
  }
}
