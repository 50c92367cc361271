// ---- warps over rows: what the sparse families share. The lanes of a warp are tokens (lane, lane + 32, ..), a warp
// computes UNITS units of ROWS outputs each. A unit is a part of a row block of R outputs, cut into ceil(R / ROWS) parts.

// Writes the sums acc[unit][row][token / 32] of all warps to y, through shared memory, so that neighbouring threads
// write neighbouring outputs. Overwrites shared memory: all threads must be past their last read of it.
template <class S>
SPC_FN void spc_store_rows(const float (&acc)[S::UNITS][S::ROWS][S::TOKENS / 32], float* ys, const float* bias, float* y,
                           int n, int n0, int tile) {
  constexpr int PARTS = (S::R + S::ROWS - 1) / S::ROWS;
  constexpr int WIDTH = SPC_WARPS * S::UNITS * S::ROWS, PITCH = WIDTH + 1;
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  SPC_UNROLL
  for (int u = 0; u < S::UNITS; ++u) {
    SPC_UNROLL
    for (int r = 0; r < S::ROWS; ++r) {
      SPC_UNROLL
      for (int t = 0; t < S::TOKENS / 32; ++t) {
        ys[(lane + 32 * t) * PITCH + (warp * S::UNITS + u) * S::ROWS + r] = acc[u][r][t];
      }
    }
  }
  spc_sync();
  SPC_ROLLED
  for (int i = threadIdx.x; i < S::TOKENS * WIDTH; i += SPC_THREADS) {
    const int t = i / WIDTH, q = i % WIDTH;
    const int unit = tile * SPC_WARPS * S::UNITS + q / S::ROWS;
    const int row = unit % PARTS * S::ROWS + q % S::ROWS, o = unit / PARTS * S::R + row;
    if (row < S::R && o < S::O && n0 + t < n) spc_store<S>(y, bias, n0 + t, o, ys[t * PITCH + q]);
  }
}
