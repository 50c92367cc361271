// ---- family groups: q4, q8, kept4 and kept8, codes of BITS bits with a scale for each group of G inputs. Units of P groups and
// BYTES bytes are dealt out evenly to all WARPS warps of the grid, whatever rows they belong to; lanes have neighbouring units,
// and read 16 bytes each. A row that lies within a warp is written to parts as a whole, its piece at the start of a warp to
// the warp's head, at the end to its tail: parts[N][STRIDE] = rows[O], head[WARPS], tail[WARPS]. A second kernel adds the pieces
// of a row in order. x lies in shared memory. A group there is a whole number of rows of all 32 banks; one of 16 numbers is there
// twice. Lane l takes the pieces of four numbers of its group in the order 0 ^ l, 1 ^ l, ..: whichever groups eight lanes have,
// they never meet in a bank.
template <class S>
SPC_FN u32 spc_unit_of(const u32* ptr, int row) {
  return S::KEPT ? spc_ldg(ptr + row) : (u32)row * (u32)S::UNITS;
}
SPC_FN u32 spc_share(u32 all, int warp, int warps) { return (u32)((u64)all * (u64)warp / (u64)warps); }
// f16 to f32; scales are finite.
SPC_FN float spc_half(u32 h) { return spc_bits((h & 0x8000u) << 16 | (h & 0x7fffu) << 13) * 5.192296858534828e33f; }
// A code of 4 bits, as its number.
SPC_FN float spc_code4(u32 word, int shift) { return spc_bits((word >> shift & 15u) ^ 0x4b000008u) - 8388616.0f; }
SPC_FN float spc_code8(u32 word, int shift) { return spc_bits((word >> shift & 255u) ^ 0x4b000080u) - 8388736.0f; }
// Word i becomes word i ^ by, by < 4.
SPC_FN void spc_turn_words(u32 (&word)[4], int by) {
  const bool odd = (by & 1) != 0, high = (by & 2) != 0;
  const u32 a = odd ? word[1] : word[0], b = odd ? word[0] : word[1], c = odd ? word[3] : word[2], d = odd ? word[2] : word[3];
  word[0] = high ? c : a;
  word[1] = high ? d : b;
  word[2] = high ? a : c;
  word[3] = high ? b : d;
}

template <class S>
SPC_FN void spc_groups(const u32* ptr, const u8* skip, const u8* codes, const void* scale, const float* x, float* parts, int n,
                       float* smem) {
  constexpr int GROUPS = (S::K + S::G - 1) / S::G, ROW = S::G < 32 ? 32 : S::G;
  const int lane = threadIdx.x & 31, turn = lane & 7, warp = blockIdx.x % S::TILES * SPC_WARPS + (int)(threadIdx.x >> 5);
  const int n0 = blockIdx.x / S::TILES * S::TOKENS;
  if constexpr (S::STAGED != 0) {
    SPC_UNROLL_4
    for (int i = threadIdx.x; i < S::TOKENS * GROUPS * ROW; i += SPC_THREADS) {
      const int t = i / (GROUPS * ROW), k = i / ROW % GROUPS * S::G + i % ROW % S::G;
      const bool inside = n0 + t < n && k < S::K;
      smem[i] = inside ? spc_ldg(x + (long long)(n0 + t) * S::K + k) : 0.0f;
    }
    spc_sync();
  }
  // Four activations of a group, by the number of the piece.
  auto four = [&](int t, int group, int piece) {
    if constexpr (S::STAGED != 0) return *(const spc_f4*)(smem + (t * GROUPS + group) * ROW + 4 * piece);
    float v[4];
    SPC_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int at = group * S::G + 4 * piece % S::G + i;
      v[i] = n0 + t < n && at < S::K ? spc_ldg(x + (long long)(n0 + t) * S::K + at) : 0.0f;
    }
    return spc_f4{v[0], v[1], v[2], v[3]};
  };
  const u32 all = spc_unit_of<S>(ptr, S::O), begin = spc_share(all, warp, S::WARPS), end = spc_share(all, warp + 1, S::WARPS);
  // The row of the first unit.
  int row = 0;
  for (int low = 0, high = S::O; low < high;) {
    const int middle = (low + high) / 2;
    if (spc_unit_of<S>(ptr, middle + 1) <= begin) {
      low = middle + 1;
    } else {
      high = middle;
    }
    row = low;
  }
  float head[S::TOKENS], tail[S::TOKENS];
  SPC_UNROLL
  for (int t = 0; t < S::TOKENS; ++t) {
    head[t] = 0.0f;
    tail[t] = 0.0f;
  }
  SPC_ROLLED
  for (; row < S::O; ++row) {
    const u32 first = spc_unit_of<S>(ptr, row), last = spc_unit_of<S>(ptr, row + 1);
    if (first >= end) break;
    const u32 from = first > begin ? first : begin, to = last < end ? last : end;
    // Number of the group after those before `from`.
    u32 next = (from - first) * (u32)S::P;
    if constexpr (S::KEPT) {
      next = 0u;
      SPC_ROLLED
      for (u32 i = first * S::P + lane; i < from * S::P; i += 32) next += spc_ldg(skip + i) + 1u;
      SPC_UNROLL
      for (int d = 16; d > 0; d /= 2) next += spc_word_from(next, lane ^ d);
    }
    float acc[S::TOKENS];
    SPC_UNROLL
    for (int t = 0; t < S::TOKENS; ++t) acc[t] = 0.0f;
    SPC_ROLLED
    for (u32 base = from; base < to; base += 32) {
      const u32 unit = base + (u32)lane;
      const bool on = unit < to;
      int group[S::P];
      if constexpr (S::KEPT) {
        u32 ahead = 0u;
        SPC_UNROLL
        for (int g = 0; g < S::P; ++g) {
          group[g] = (int)(ahead + (on ? spc_ldg(skip + (long long)unit * S::P + g) : 0u));
          ahead = (u32)group[g] + 1u;
        }
        if (!on) ahead = 0u;
        u32 sum = ahead;
        SPC_UNROLL
        for (int d = 1; d < 32; d *= 2) {
          const u32 before = spc_word_from(sum, (lane - d) & 31);
          if (lane >= d) sum += before;
        }
        SPC_UNROLL
        for (int g = 0; g < S::P; ++g) group[g] += (int)(next + sum - ahead);
        next += spc_word_from(sum, 31);
      } else {
        SPC_UNROLL
        for (int g = 0; g < S::P; ++g) group[g] = (int)((unit - first) * (u32)S::P) + g;
      }
      if (on) {
        float dot[S::P][S::TOKENS];
        SPC_UNROLL
        for (int g = 0; g < S::P; ++g) {
          SPC_UNROLL
          for (int t = 0; t < S::TOKENS; ++t) dot[g][t] = 0.0f;
        }
        SPC_UNROLL
        for (int load = 0; load < S::BYTES / 16; ++load) {
          // Of 8 bits, two loads are the pieces of a row of banks.
          const int at = S::BITS == 8 && S::BYTES >= 32 ? load ^ turn >> 2 : load;
          const spc_w4 w = spc_stream4((const u32*)codes + ((long long)unit * S::BYTES + at * 16) / 4);
          u32 word[4] = {w.x, w.y, w.z, w.w};
          spc_turn_words(word, turn & 3);
          // Of 4 bits, the low halves of bytes are one run of 16 codes, and the high halves the next: of this group or the other.
          SPC_UNROLL
          for (int run = 0; run < 8 / S::BITS; ++run) {
            const int g = S::P == 2 ? run : 0, half = S::P == 2 || S::BITS == 8 ? run : run ^ turn >> 2;
            if (group[g] >= GROUPS) continue;  // fill
            SPC_UNROLL
            for (int i = 0; i < 4; ++i) {
              const int piece = (S::P == 2 ? i : (load * (8 / S::BITS) + run) * 4 + i) ^ turn;
              const u32 codes4 = word[i] >> 4 * half;
              float c[4];
              SPC_UNROLL
              for (int j = 0; j < 4; ++j) c[j] = S::BITS == 4 ? spc_code4(codes4, 8 * j) : spc_code8(codes4, 8 * j);
              SPC_UNROLL
              for (int t = 0; t < S::TOKENS; ++t) {
                const spc_f4 v = four(t, group[g], piece);
                float d = dot[g][t];
                d = spc_fma(c[0], v.x, d);
                d = spc_fma(c[1], v.y, d);
                d = spc_fma(c[2], v.z, d);
                dot[g][t] = spc_fma(c[3], v.w, d);
              }
            }
          }
        }
        SPC_UNROLL
        for (int g = 0; g < S::P; ++g) {
          const long long slot = (long long)unit * S::P + g;
          float by;
          if constexpr (S::HALF != 0) {
            const u8* const two = (const u8*)scale + 2 * slot;
            by = spc_half(spc_ldg(two) | spc_ldg(two + 1) << 8);
          } else {
            by = spc_ldg((const float*)scale + slot);
          }
          SPC_UNROLL
          for (int t = 0; t < S::TOKENS; ++t) acc[t] = spc_fma(by, dot[g][t], acc[t]);
        }
      }
    }
    SPC_UNROLL
    for (int t = 0; t < S::TOKENS; ++t) {
      SPC_UNROLL
      for (int d = 16; d > 0; d /= 2) acc[t] += spc_lane_xor(acc[t], d);
      if (from > first) {
        head[t] = acc[t];
      } else if (to < last) {
        tail[t] = acc[t];
      } else if (lane == 0 && n0 + t < n && to > from) {
        parts[(long long)(n0 + t) * S::STRIDE + row] = acc[t];
      }
    }
  }
  SPC_UNROLL
  for (int t = 0; t < S::TOKENS; ++t) {
    if (lane == 0 && n0 + t < n) {
      parts[(long long)(n0 + t) * S::STRIDE + S::O + warp] = head[t];
      parts[(long long)(n0 + t) * S::STRIDE + S::O + S::WARPS + warp] = tail[t];
    }
  }
}

// The warp that has a unit.
SPC_FN int spc_warp_of(u32 all, u32 unit, int warps) {
  int w = (int)((u64)unit * (u64)warps / (u64)all);
  while (spc_share(all, w + 1, warps) <= unit) ++w;
  while (spc_share(all, w, warps) > unit) --w;
  return w;
}

template <class S>
SPC_FN void spc_groups_sum(const u32* ptr, const float* parts, const float* bias, float* y, int n) {
  (void)n;
  const int token = blockIdx.x / S::TILES, o = blockIdx.x % S::TILES * SPC_THREADS + threadIdx.x;
  if (o >= S::O) return;
  const u32 all = spc_unit_of<S>(ptr, S::O), first = spc_unit_of<S>(ptr, o), last = spc_unit_of<S>(ptr, o + 1);
  const float* const from = parts + (long long)token * S::STRIDE;
  float sum = 0.0f;
  if (last > first) {
    const int a = spc_warp_of(all, first, S::WARPS), b = spc_warp_of(all, last - 1u, S::WARPS);
    sum = spc_ldg(from + (a == b ? o : S::O + S::WARPS + a));
    SPC_ROLLED
    for (int w = a + 1; w <= b; ++w) sum += spc_ldg(from + S::O + w);
  }
  spc_store<S>(y, bias, token, o, sum);
}
