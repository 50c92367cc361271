// ---- family mma: weights in the order of tensor cores times xb. Four layouts share it:
//   mma24   SPARSE, blocks of 32 rows that have all T tiles of 32 columns: values[B][T][2][32][4], meta[B][T][32]
//   vnm     SPARSE, GATHER: as mma24 over the columns idx[B][T][32] that the rows of a block share
//   mma32   LISTED: row block b has the tiles ptr[b] .. ptr[b + 1), at columns 32 * idx; values[count][R / 16][2][32][4]
//   mma1    LISTED, GATHER: as mma32 with the columns idx[count][32]
// xb is [TERMS][N][KP] of bf16 numbers, or, for GATHER, [TERMS][K][NP], NP = N rounded up to 16: a column is then a row of
// neighbouring tokens, and the matrix load turns it. A block of threads computes 16 * H * WM outputs for 8 * NT * WN tokens; WK
// warps share a tile of outputs, each takes KT of the WK * KT tiles of columns of a step. Weights go straight to registers, one
// step ahead; x comes through STAGES stages of shared memory. The sums of the WK warps are added in order. With SPLIT > 1, that
// many blocks share the steps, and each writes sums of its own, y[SPLIT][N][O]. With F16 the weights are f16 numbers: each is the
// sum of two bf16 numbers, which are multiplied one after the other.
// Two f16 numbers as two bf16 numbers each, of the same sign and neither of them zero where the number is not: times an infinity
// both are infinite. They are the upper bits and the rest, or two halves where there is no rest.
SPC_FN u32 spc_split_half(u32& word) {
  float v[2];
  spc_halves(v, word);
  u32 high[2], low[2];
  SPC_UNROLL
  for (int i = 0; i < 2; ++i) {
    const u32 upper = spc_word(v[i]) & 0xffff0000u;
    const bool whole = spc_word(v[i]) == upper;
    high[i] = whole ? spc_word(0.5f * v[i]) : upper;
    low[i] = whole ? high[i] : spc_word(v[i] - spc_bits(upper));
  }
  word = high[0] >> 16 | (high[1] & 0xffff0000u);
  return low[0] >> 16 | (low[1] & 0xffff0000u);
}
SPC_FN void spc_split_halves(spc_w4& a, spc_w4& low) {
  low = spc_w4{spc_split_half(a.x), spc_split_half(a.y), spc_split_half(a.z), spc_split_half(a.w)};
}

template <class S>
SPC_FN void spc_mma(const u32* ptr, const u32* idx, const u32* values, const u32* meta, const float* bias, const u32* xb,
                    float* y, int n, float* smem) {
  constexpr int TILES_K = S::TILES_K, WIDTH = S::KT * S::WK, ROWS = 16 * S::H * S::WM;
  constexpr int THREADS = 32 * S::WM * S::WN * S::WK, OUT = ROWS + 4, PARTS = S::SPARSE ? 2 : 2 * S::H;
  // A row of shared memory is a token with the columns of a step, or a column with the tokens of a block. Eight rows that are
  // loaded as a matrix must not meet in a bank: their distance is an odd number of 16 bytes.
  constexpr int PIECES = S::GATHER ? S::TOKENS / 8 : WIDTH * 4, PITCH = (PIECES | 1) * 4;
  constexpr int LINES = S::GATHER ? WIDTH * 32 : S::TOKENS, STAGE = S::TERMS * LINES * PITCH;
  u32* const xs = (u32*)smem;  // [STAGES][TERMS][LINES][PITCH]
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int wk = warp % S::WK, wn = warp / S::WK % S::WN, wm = warp / (S::WK * S::WN);
  const int tile = blockIdx.x % S::TILES, split = blockIdx.x / S::TILES % S::SPLIT;
  const int n0 = blockIdx.x / (S::TILES * S::SPLIT) * S::TOKENS;
  const int first = S::LISTED ? (int)spc_ldg(ptr + tile) : 0;
  const int count = S::LISTED ? (int)spc_ldg(ptr + tile + 1) - first : TILES_K;
  const int all = (count + WIDTH - 1) / WIDTH, each = (all + S::SPLIT - 1) / S::SPLIT, begin = split * each;
  const int end = begin + each < all ? begin + each : all;
  const int rows = tile * S::WM + wm;  // of 16 * H
  const u32* const list = S::GATHER ? idx + (S::LISTED ? (long long)first : (long long)tile * TILES_K) * 32 : idx + first;
  // The 32 rows of a sparse tile lie together; a listed block has all of its rows.
  const long long base = S::LISTED ? (long long)first * S::WM + wm : (long long)rows * TILES_K;
  const u32* const own = values + (base * PARTS * 32 + lane) * 4;
  const u32* const codes = S::SPARSE ? meta + base * 32 + lane : nullptr;
  float acc[S::H][S::NT][4];
  SPC_UNROLL
  for (int h = 0; h < S::H; ++h) {
    SPC_UNROLL
    for (int j = 0; j < S::NT; ++j) {
      SPC_UNROLL
      for (int c = 0; c < 4; ++c) acc[h][j][c] = 0.0f;
    }
  }
  // Pieces of 16 bytes: neighbouring threads copy neighbouring columns of a token, or neighbouring tokens of a column.
  auto stage = [&](int step) {
    SPC_ROLLED
    for (int i = threadIdx.x; i < S::TERMS * LINES * PIECES; i += THREADS) {
      const int piece = i % PIECES, row = i / PIECES, line = row % LINES, term = row / LINES;
      const int at = step * WIDTH + (S::GATHER ? line / 32 : piece / 4);
      const u32* from = xb;
      bool inside = at < count;
      if constexpr (S::GATHER) {
        const int np = (n + 15) / 16 * 16, token = n0 + piece * 8;
        const int k = inside ? (int)spc_ldg(list + (long long)at * 32 + line % 32) : S::K;
        inside = k < S::K && token < np;
        if (inside) from = xb + (((long long)term * S::K + k) * np + token) / 2;
      } else {
        const int token = n0 + line;
        inside = inside && token < n;
        if (inside) {
          const int k = (S::LISTED ? (int)spc_ldg(list + at) : at) * 32 + piece % 4 * 8;
          from = xb + (((long long)term * n + token) * S::KP + k) / 2;
        }
      }
      spc_copy16(xs + step % S::STAGES * STAGE + row * PITCH + piece * 4, from, inside ? 16 : 0);
    }
  };
  spc_w4 a[S::KT][PARTS], a_next[S::KT][PARTS];
  u32 e[S::KT], e_next[S::KT];
  auto fetch = [&](int step, spc_w4 (&to)[S::KT][PARTS], u32 (&to_codes)[S::KT]) {
    SPC_UNROLL
    for (int j = 0; j < S::KT; ++j) {
      const int t = (step * S::WK + wk) * S::KT + j;
      const bool inside = t < count && step < end && rows * 16 * S::H < S::ROWS_STORED;
      const u32* const from = own + (long long)t * (S::LISTED ? S::WM : 1) * PARTS * 128;
      SPC_UNROLL
      for (int p = 0; p < PARTS; ++p) to[j][p] = inside ? spc_stream4(from + p * 128) : spc_w4{0u, 0u, 0u, 0u};
      to_codes[j] = 0x44444444u;  // positions 0 and 1
      if constexpr (S::SPARSE) {
        if (inside) to_codes[j] = spc_stream(codes + (long long)t * 32);
      }
    }
  };
  SPC_UNROLL
  for (int s = 0; s < S::STAGES - 1; ++s) {
    if (begin + s < end) stage(begin + s);
    spc_copy_commit();
  }
  fetch(begin, a, e);
  SPC_ROLLED
  for (int step = begin; step < end; ++step) {
    spc_copy_wait<S::STAGES - 2>();
    spc_sync();
    if (step + S::STAGES - 1 < end) stage(step + S::STAGES - 1);
    spc_copy_commit();
    fetch(step + 1, a_next, e_next);
    const u32* const now = xs + step % S::STAGES * STAGE;
    SPC_UNROLL
    for (int j = 0; j < S::KT; ++j) {
      spc_w4 low[PARTS];
      if constexpr (S::F16) {
        SPC_UNROLL
        for (int p = 0; p < PARTS; ++p) spc_split_halves(a[j][p], low[p]);
      }
      SPC_UNROLL
      for (int t = 0; t < S::TERMS; ++t) {
        SPC_UNROLL
        for (int i = 0; i < S::NT; ++i) {
          const int group = wn * S::NT + i, part = wk * S::KT + j;
          u32 b[4];
          if constexpr (S::GATHER) {
            spc_load_turned(b, now + (t * LINES + part * 32 + lane) * PITCH + group * 4);
          } else {
            spc_load_matrices(b, now + (t * LINES + group * 8 + (lane & 7)) * PITCH + (lane >> 3) * 4 + part * 16);
          }
          if constexpr (S::SPARSE) {
            spc_mma24_step<0>(acc[0][i], a[j][0], b, e[j]);
            spc_mma24_step<1>(acc[1][i], a[j][1], b, e[j]);
            if constexpr (S::F16) {
              spc_mma24_step<0>(acc[0][i], low[0], b, e[j]);
              spc_mma24_step<1>(acc[1][i], low[1], b, e[j]);
            }
          } else {
            SPC_UNROLL
            for (int h = 0; h < S::H; ++h) {
              spc_mma_step(acc[h][i], a[j][2 * h], b[0], b[1]);
              spc_mma_step(acc[h][i], a[j][2 * h + 1], b[2], b[3]);
              if constexpr (S::F16) {
                spc_mma_step(acc[h][i], low[2 * h], b[0], b[1]);
                spc_mma_step(acc[h][i], low[2 * h + 1], b[2], b[3]);
              }
            }
          }
        }
      }
    }
    SPC_UNROLL
    for (int j = 0; j < S::KT; ++j) {
      SPC_UNROLL
      for (int p = 0; p < PARTS; ++p) a[j][p] = a_next[j][p];
      e[j] = e_next[j];
    }
  }
  spc_store_tiles<S, ROWS, OUT, THREADS>(acc, smem, bias, y, n, n0, split, wk, wm, wn, lane);
}

// Adds the sums of SPLIT blocks in order: one thread an output.
template <class S>
SPC_FN void spc_parts(const float* parts, const float* bias, float* y, int n) {
  const int token = blockIdx.x / S::TILES, o = blockIdx.x % S::TILES * SPC_THREADS + threadIdx.x;
  if (o >= S::O) return;
  float sum = 0.0f;
  SPC_UNROLL
  for (int s = 0; s < S::SPLIT; ++s) sum += spc_ldg(parts + ((long long)s * n + token) * S::O + o);
  spc_store<S>(y, bias, token, o, sum);
}
