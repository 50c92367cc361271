// ---- training passes: what a program's rules do to weights, in place. A fault is left as a number that is not 0.

// The mask of the N greatest of every M neighbouring weights, N = numbers[NUMBER]. One thread a group; a weight that is 0 counts as
// the smallest there is, of equal ones the lower place comes first. FAULT is left where a weight is not finite.
template <int M, int NUMBER, int FAULT>
SPC_FN void spc_kept(const float* w, u8* mask, const float* numbers, u32* fault, int groups) {
  const int g = blockIdx.x * SPC_THREADS + threadIdx.x;
  if (g >= groups) return;
  const long long first = (long long)g * M;
  const float keep = spc_ldg(numbers + NUMBER);
  u32 key[M], most = 0u;
  SPC_UNROLL
  for (int i = 0; i < M; i += M % 4 == 0 ? 4 : 1) {
    if constexpr (M % 4 == 0) {
      const spc_f4 f = spc_get4(w + first + i);
      key[i] = spc_magnitude(f.x);
      key[i + 1 < M ? i + 1 : i] = spc_magnitude(f.y);
      key[i + 2 < M ? i + 2 : i] = spc_magnitude(f.z);
      key[i + 3 < M ? i + 3 : i] = spc_magnitude(f.w);
    } else {
      key[i] = spc_magnitude(spc_get(w + first + i));
    }
  }
  SPC_UNROLL
  for (int i = 0; i < M; ++i) {
    most = key[i] > most ? key[i] : most;
    key[i] = key[i] > 1u ? key[i] : 1u;
  }
  if (most >= 0x7f800000u) *fault = (u32)FAULT;
  SPC_UNROLL
  for (int i = 0; i < M; ++i) {
    int before = 0;
    SPC_UNROLL
    for (int j = 0; j < M; ++j) before += j < i ? (key[j] >= key[i] ? 1 : 0) : (key[j] > key[i] ? 1 : 0);
    mask[first + i] = (float)before < keep ? 1 : 0;
  }
}

// Gives tiles of ROWS x TILE in rows of COLS weights another norm, S::to(norm, numbers). A warp has a tile, or, where tiles are
// narrow, those of 32 columns. What has no norm any more is +0; a norm that stays changes no bit. FAULT is left where a norm is no
// finite number.
template <class S>
SPC_FN void spc_resize(float* w, const float* numbers, u32* fault, int units) {
  constexpr bool NARROW = S::TILE < 32 && S::TILE < S::COLS;
  constexpr int ACROSS = NARROW ? (S::COLS + 31) / 32 : S::COLS / S::TILE;
  constexpr int STEPS = NARROW ? S::ROWS : (S::ROWS * S::TILE + 31) / 32, LANES = NARROW ? S::TILE : 32;
  const int lane = threadIdx.x & 31, unit = blockIdx.x * SPC_WARPS + (int)(threadIdx.x >> 5);
  if (unit >= units) return;
  const long long strip = (long long)(unit / ACROSS) * S::ROWS * S::COLS;
  // Where the lane's weight of a step is; none: -1.
  auto place = [&](int step) -> long long {
    if constexpr (NARROW) {
      const int column = unit % ACROSS * 32 + lane;
      return column < S::COLS ? strip + (long long)step * S::COLS + column : -1;
    }
    const int at = step * 32 + lane;
    return at < S::ROWS * S::TILE ? strip + (long long)(at / S::TILE) * S::COLS + unit % ACROSS * S::TILE + at % S::TILE : -1;
  };
  float sum = 0.0f;
  SPC_UNROLL_4
  for (int i = 0; i < STEPS; ++i) {
    const long long p = place(i);
    const float v = p < 0 ? 0.0f : spc_get(w + p);
    sum = spc_fma(v, v, sum);
  }
  SPC_UNROLL
  for (int d = 1; d < LANES; d *= 2) sum += spc_lane_xor(sum, d);
  float norm = spc_sqrt(sum);
  // Squares that are too large or too small: once more, divided by the greatest.
  const bool odd = !(sum > 1e-30f && sum < 1e30f);
  float any = odd ? 1.0f : 0.0f;
  SPC_UNROLL
  for (int d = 1; d < 32; d *= 2) any += spc_lane_xor(any, d);
  if (any != 0.0f) {
    float top = 0.0f, part = 0.0f;
    SPC_ROLLED
    for (int i = 0; i < STEPS; ++i) {
      const long long p = place(i);
      const float v = p < 0 ? 0.0f : spc_abs(spc_get(w + p));
      if (!(v <= top)) top = v;
    }
    SPC_UNROLL
    for (int d = 1; d < LANES; d *= 2) {
      const float other = spc_lane_xor(top, d);
      if (!(other <= top)) top = other;
    }
    SPC_ROLLED
    for (int i = 0; i < STEPS; ++i) {
      const long long p = place(i);
      const float v = p < 0 || top == 0.0f ? 0.0f : spc_get(w + p) / top;
      part = spc_fma(v, v, part);
    }
    SPC_UNROLL
    for (int d = 1; d < LANES; d *= 2) part += spc_lane_xor(part, d);
    if (odd) norm = top == 0.0f ? 0.0f : top * spc_sqrt(part);
  }
  if (!(norm < spc_bits(0x7f800000u))) *fault = (u32)S::FAULT;
  const float to = S::to(norm, numbers);
  const float by = to == 0.0f || norm == 0.0f ? 0.0f : to == norm ? 1.0f : to / norm;
  SPC_UNROLL_4
  for (int i = 0; i < STEPS; ++i) {
    const long long p = place(i);
    if (p < 0) continue;
    const float v = spc_get(w + p) * by;
    w[p] = by == 0.0f ? 0.0f : v;
  }
}
