// ---- training: updates of weights in place or not. What a thread writes, it or its warp has read before; a result may be the
// array that it was made of, but for packed words.

#if !defined(SPC_EMU)
SPC_FN float spc_get(const float* p) { return *p; }
SPC_FN u32 spc_get(const u8* p) { return *p; }
SPC_FN u32 spc_get(const u32* p) { return *p; }
SPC_FN spc_f4 spc_get4(const float* p) { return *(const spc_f4*)p; }
// Adds to a word that other threads add to as well.
SPC_FN void spc_add(u32* p, u32 by) { atomicAdd(p, by); }
#endif

// The order of magnitudes as integers: NaN is above infinity.
SPC_FN u32 spc_magnitude(float a) { return spc_word(a) & 0x7fffffffu; }

// Which N of M come first: the greatest magnitudes, of equal ones the lower place. Absent places (`there` false) come last.
template <int N, int M>
SPC_FN u32 spc_first_of(const float (&v)[M], int there) {
  u32 chosen = 0u;
  SPC_UNROLL
  for (int i = 0; i < M; ++i) {
    int before = 0;
    SPC_UNROLL
    for (int j = 0; j < M; ++j) {
      const u32 a = spc_magnitude(v[j]), b = spc_magnitude(v[i]);
      const bool first = j < there && (i >= there || a > b || (a == b && j < i));
      before += i != j && (first || (i >= there && j >= there && j < i)) ? 1 : 0;
    }
    if (before < N && i < there) chosen |= 1u << i;
  }
  return chosen;
}

// N of every M neighbouring weights: the mask, and the weights as it leaves them. One thread a group; the last may be short.
template <int N, int M>
SPC_FN void spc_nm_mask(const float* w, u8* mask, float* kept, int groups, int n) {
  const int g = blockIdx.x * SPC_THREADS + threadIdx.x, first = g * M;
  if (g >= groups) return;
  const int there = n - first < M ? n - first : M;
  float v[M];
  if (M % 4 == 0 && there == M) {
    SPC_UNROLL
    for (int i = 0; i < M; i += 4) {
      const spc_f4 f = spc_get4(w + first + i);
      v[i] = f.x;
      v[i + 1 < M ? i + 1 : i] = f.y;
      v[i + 2 < M ? i + 2 : i] = f.z;
      v[i + 3 < M ? i + 3 : i] = f.w;
    }
  } else {
    SPC_UNROLL
    for (int i = 0; i < M; ++i) v[i] = i < there ? spc_get(w + first + i) : 0.0f;
  }
  const u32 chosen = spc_first_of<N, M>(v, there);
  if (M % 4 == 0 && there == M) {
    SPC_UNROLL
    for (int i = 0; i < M; i += 4) {
      const u32 four = chosen >> i & 15u;
      *(u32*)(mask + first + i) = (four & 1u) | (four & 2u) << 7 | (four & 4u) << 14 | (four & 8u) << 21;
      *(spc_f4*)(kept + first + i) = spc_f4{four & 1u ? v[i] : 0.0f, four & 2u ? v[i + 1 < M ? i + 1 : i] : 0.0f,
                                            four & 4u ? v[i + 2 < M ? i + 2 : i] : 0.0f,
                                            four & 8u ? v[i + 3 < M ? i + 3 : i] : 0.0f};
    }
    return;
  }
  SPC_UNROLL
  for (int i = 0; i < M; ++i) {
    if (i >= there) continue;
    mask[first + i] = chosen >> i & 1u ? 1 : 0;
    kept[first + i] = chosen >> i & 1u ? v[i] : 0.0f;
  }
}

// x rounded to bf16, ties to even.
SPC_FN u32 spc_nearest(float a) {
  const u32 bits = spc_word(a);
  return a != a ? 0x7fc0u : (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
}

// 2 of every 4 of w[O][K], rounded to bf16, in the order of mma24: one warp a tile of 32 x 32. A lane has four groups of each
// half; four lanes read 64 neighbouring bytes of a row.
template <class S>
SPC_FN void spc_pack24(const float* w, u32* values, u32* meta, int tiles) {
  constexpr int ACROSS = (S::K + 31) / 32;
  const int lane = threadIdx.x & 31, tile = blockIdx.x * SPC_WARPS + (int)(threadIdx.x >> 5), g = lane >> 2, t = lane & 3;
  if (tile >= tiles) return;
  u32 mine = 0u;
  SPC_UNROLL
  for (int half = 0; half < 2; ++half) {
    u32 word[4], codes[2] = {0u, 0u};
    SPC_UNROLL
    for (int r = 0; r < 4; ++r) {
      const int row = tile / ACROSS * 32 + half * 16 + g + (r & 1) * 8, column = tile % ACROSS * 32 + (r >> 1) * 16 + t * 4;
      const int left = row < S::O ? S::K - column : 0, there = left < 0 ? 0 : left < 4 ? left : 4;
      float v[4] = {0.0f, 0.0f, 0.0f, 0.0f};
      const float* const from = w + (long long)row * S::K + column;
      if (S::K % 4 == 0 && there == 4) {
        const spc_f4 f = spc_get4(from);
        v[0] = f.x;
        v[1] = f.y;
        v[2] = f.z;
        v[3] = f.w;
      } else {
        SPC_UNROLL
        for (int i = 0; i < 4; ++i) {
          if (i < there) v[i] = spc_get(from + i);
        }
      }
      u32 chosen = spc_first_of<2, 4>(v, there);
      // Fewer than two places: some others, with zeros.
      if (there < 2) chosen = 3u;
      const u32 low = chosen & 1u ? 0u : chosen & 2u ? 1u : 2u, high = chosen & 8u ? 3u : chosen & 4u ? 2u : 1u;
      float a = 0.0f, b = 0.0f;
      SPC_UNROLL
      for (u32 i = 0u; i < 4u; ++i) {
        if (i == low) a = v[i];
        if (i == high) b = v[i];
      }
      word[r] = spc_nearest(a) | spc_nearest(b) << 16;
      codes[r >> 1] |= (low | high << 2) << ((r & 1) * 16 + t * 4);
    }
    SPC_UNROLL
    for (int c = 0; c < 2; ++c) {
      codes[c] |= spc_word_from(codes[c], lane ^ 1);
      codes[c] |= spc_word_from(codes[c], lane ^ 2);
      if (t == half * 2 + c) mine = codes[c];
    }
    *(spc_w4*)(values + (((long long)tile * 2 + half) * 32 + lane) * 4) = spc_w4{word[0], word[1], word[2], word[3]};
  }
  meta[(long long)tile * 32 + lane] = mine;
}

// Group soft threshold of w[O][K] in groups of R x C, C a power of two up to 32: every group is scaled by
// max(0, 1 - tau / its norm), and is 0 where its norm is not above tau. A warp has R rows of 32 columns.
template <class S>
SPC_FN void spc_prox_tiles(const float* w, float* to, const float* numbers, int units) {
  constexpr int ACROSS = (S::K + 31) / 32;
  const int lane = threadIdx.x & 31, unit = blockIdx.x * SPC_WARPS + (int)(threadIdx.x >> 5);
  if (unit >= units) return;
  const int first = unit / ACROSS * S::R, column = unit % ACROSS * 32 + lane;
  const float tau = spc_ldg(numbers);
  float sum = 0.0f;
  SPC_UNROLL_4
  for (int r = 0; r < S::R; ++r) {
    const float v = first + r < S::O && column < S::K ? spc_get(w + (long long)(first + r) * S::K + column) : 0.0f;
    sum = spc_fma(v, v, sum);
  }
  SPC_UNROLL
  for (int d = 1; d < S::C; d *= 2) sum += spc_lane_xor(sum, d);
  const float norm = spc_sqrt(sum), by = norm > tau ? 1.0f - tau / norm : norm != norm ? norm : 0.0f;
  SPC_UNROLL_4
  for (int r = 0; r < S::R; ++r) {
    if (first + r >= S::O || column >= S::K) continue;
    const long long at = (long long)(first + r) * S::K + column;
    to[at] = spc_get(w + at) * by;
  }
}

// The same in groups of R whole rows: a block has one.
template <class S>
SPC_FN void spc_prox_rows(const float* w, float* to, const float* numbers, float* smem) {
  const int rows = S::O - (int)blockIdx.x * S::R < S::R ? S::O - (int)blockIdx.x * S::R : S::R;
  const long long first = (long long)blockIdx.x * S::R * S::K, count = (long long)rows * S::K;
  const float tau = spc_ldg(numbers);
  float sum = 0.0f;
  SPC_UNROLL_4
  for (long long i = threadIdx.x; i < count; i += SPC_THREADS) {
    const float v = spc_get(w + first + i);
    sum = spc_fma(v, v, sum);
  }
  SPC_UNROLL
  for (int d = 16; d > 0; d /= 2) sum += spc_lane_xor(sum, d);
  if ((threadIdx.x & 31) == 0) smem[threadIdx.x >> 5] = sum;
  spc_sync();
  sum = 0.0f;
  SPC_UNROLL
  for (int i = 0; i < SPC_WARPS; ++i) sum += smem[i];
  const float norm = spc_sqrt(sum), by = norm > tau ? 1.0f - tau / norm : norm != norm ? norm : 0.0f;
  SPC_UNROLL_4
  for (long long i = threadIdx.x; i < count; i += SPC_THREADS) to[first + i] = spc_get(w + first + i) * by;
}

// The keep-th weight in the order of all: greatest magnitude first, of equal ones the lower place. Its key of 63 bits, the
// magnitude and the place from the end, is found in six digits, the upper ones first. state: the key so far (two words, low
// first), how many are still to be passed over, counted from the greatest. counts: 2048 words, zero before the first digit.
constexpr int SPC_BINS = 2048;
SPC_FN u64 spc_key(const float* w, int i) { return (u64)spc_magnitude(spc_get(w + i)) << 32 | (u32)~i; }
SPC_FN int spc_digit_shift(int digit) { return digit < 3 ? 52 - 11 * digit : 50 - 10 * digit; }
SPC_FN u64 spc_key_of(const u32* state) { return (u64)spc_get(state + 1) << 32 | spc_get(state); }

SPC_FN void spc_histogram(const float* w, const u32* state, u32* counts, int digit, int n, u32* own) {
  for (int i = threadIdx.x; i < SPC_BINS; i += SPC_THREADS) own[i] = 0u;
  spc_sync();
  const int shift = spc_digit_shift(digit), width = digit < 3 ? 11 : 10;
  const u64 above = spc_key_of(state) >> (shift + width);
  const int from = blockIdx.x * SPC_THREADS * 32;
  SPC_ROLLED
  for (int j = 0; j < 32; ++j) {
    const int i = from + j * SPC_THREADS + (int)threadIdx.x;
    if (i >= n) break;
    const u64 key = spc_key(w, i);
    if (key >> (shift + width) == above) spc_add(own + (u32)(key >> shift & (u64)((1 << width) - 1)), 1u);
  }
  spc_sync();
  for (int i = threadIdx.x; i < SPC_BINS; i += SPC_THREADS) {
    if (own[i] != 0u) spc_add(counts + i, own[i]);
  }
}

// One block: the digit at which the count is reached, and counts of zero for the next one. With fewer weights than are to be
// kept the key becomes 0, which no weight is below.
SPC_FN void spc_select(u32* state, u32* counts, int digit, u32* own) {
  // Thread t sums the bins of its part, from the greatest down.
  constexpr int EACH = SPC_BINS / SPC_THREADS;
  const int top = SPC_BINS - 1 - (int)threadIdx.x * EACH;
  u32 sum = 0u;
  for (int i = 0; i < EACH; ++i) sum += spc_get(counts + top - i);
  own[threadIdx.x] = sum;
  spc_sync();
  u32 before = 0u;
  for (int t = 0; t < (int)threadIdx.x; ++t) before += own[t];
  const u32 keep = spc_get(state + 2);
  const u64 key = spc_key_of(state);
  u32 bin = SPC_BINS, left = 0u;
  for (int i = 0; i < EACH; ++i) {
    const u32 c = spc_get(counts + top - i);
    if (before < keep && keep <= before + c) {
      bin = (u32)(top - i);
      left = keep - before;
    }
    before += c;
  }
  spc_sync();
  for (int i = 0; i < EACH; ++i) counts[top - i] = 0u;
  if (bin != (u32)SPC_BINS) {
    const u64 found = key | (u64)bin << spc_digit_shift(digit);
    state[0] = (u32)found;
    state[1] = (u32)(found >> 32);
    state[2] = left;
  }
}

// The mask of the weights that are not behind the one that was found.
SPC_FN void spc_chosen(const float* w, const u32* state, u8* mask, int n) {
  const int i = blockIdx.x * SPC_THREADS + threadIdx.x;
  if (i >= n) return;
  mask[i] = spc_key(w, i) >= spc_key_of(state) ? 1 : 0;
}
