// ---- tiles of tensor cores: what their families share. Lane 4g + t holds, of a tile of 16 outputs by 8 tokens, outputs g and
// g + 8 (c / 2) for tokens 2t and 2t + 1 (c % 2).

// Adds the sums of the WK warps of a tile in order and writes them to y, through shared memory, so that neighbouring threads
// write neighbouring outputs; with SPLIT > 1 without bias and activation. Overwrites shared memory.
template <class S, int ROWS, int OUT, int THREADS>
SPC_FN void spc_store_tiles(const float (&acc)[S::H][S::NT][4], float* ys, const float* bias, float* y, int n, int n0,
                            int split, int wk, int wm, int wn, int lane) {
  SPC_UNROLL
  for (int turn = 0; turn < S::WK; ++turn) {
    spc_sync();
    if (wk == turn) {
      SPC_UNROLL
      for (int h = 0; h < S::H; ++h) {
        SPC_UNROLL
        for (int i = 0; i < S::NT; ++i) {
          SPC_UNROLL
          for (int c = 0; c < 4; ++c) {
            const int row = (wm * S::H + h) * 16 + (lane >> 2) + (c >> 1) * 8;
            const int token = (wn * S::NT + i) * 8 + (lane & 3) * 2 + (c & 1);
            float* const at = ys + token * OUT + row;
            *at = turn == 0 ? acc[h][i][c] : *at + acc[h][i][c];
          }
        }
      }
    }
  }
  spc_sync();
  SPC_UNROLL_4
  for (int i = threadIdx.x; i < S::TOKENS * ROWS; i += THREADS) {
    // Half a warp reads 16 outputs of a token: of two tokens whose rows lie in other banks.
    const int u = i / ROWS, t = ROWS == 16 ? u / 8 * 8 + (u & 1) * 4 + (u / 2 & 3) : u, o = blockIdx.x % S::TILES * ROWS + i % ROWS;
    if (o >= S::O || n0 + t >= n) continue;
    if constexpr (S::SPLIT > 1) {
      y[((long long)split * n + n0 + t) * S::O + o] = ys[t * OUT + i % ROWS];
    } else {
      spc_store<S>(y, bias, n0 + t, o, ys[t * OUT + i % ROWS]);
    }
  }
}
