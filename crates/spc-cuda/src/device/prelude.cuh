// ---- prelude: every device feature that the kernels use. With -DSPC_EMU the same text is plain C++17 for a CPU.
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

#if defined(SPC_EMU)
#include "spc_emu.hpp"
#else
#define SPC_FN static __device__ __forceinline__
#define SPC_UNROLL _Pragma("unroll")
#define SPC_UNROLL_4 _Pragma("unroll 4")
#define SPC_ROLLED _Pragma("unroll 1")
#define SPC_SMEM(name) extern __shared__ __align__(16) unsigned char name[]

struct __align__(16) spc_f4 { float x, y, z, w; };
struct __align__(16) spc_w4 { u32 x, y, z, w; };
struct __align__(8) spc_w2 { u32 x, y; };

// Loads through the read-only path. The four-value load needs 16-byte alignment.
SPC_FN float spc_ldg(const float* p) { return __ldg(p); }
SPC_FN u32 spc_ldg(const u32* p) { return __ldg(p); }
SPC_FN u32 spc_ldg(const u8* p) { return __ldg(p); }
SPC_FN spc_f4 spc_ldg4(const float* p) {
  const float4 v = __ldg((const float4*)p);
  return spc_f4{v.x, v.y, v.z, v.w};
}
// Barrier of all threads of the block.
#define spc_sync() __syncthreads()
// The value of the lane whose number differs in the bits of m. All lanes of the warp take part.
SPC_FN float spc_lane_xor(float a, int m) { return __shfl_xor_sync(0xffffffffu, a, m); }
// The word of that lane. All lanes of the warp take part.
SPC_FN u32 spc_word_from(u32 a, int lane) { return __shfl_sync(0xffffffffu, a, lane); }
SPC_FN float spc_bits(u32 bits) { return __uint_as_float(bits); }
SPC_FN u32 spc_word(float a) { return __float_as_uint(a); }
#endif

// a * b + c, rounded once.
SPC_FN float spc_fma(float a, float b, float c) { return fmaf(a, b, c); }
SPC_FN float spc_abs(float a) { return fabsf(a); }
SPC_FN float spc_sqrt(float a) { return sqrtf(a); }
SPC_FN float spc_exp(float a) { return expf(a); }
SPC_FN float spc_log(float a) { return logf(a); }
SPC_FN float spc_erf(float a) { return erff(a); }
SPC_FN float spc_tanh(float a) { return tanhf(a); }
// The 224 bits of 2 / pi after the point, a word at a time from word 1 on; word 0 stands before it.
SPC_FN u32 spc_two_over_pi(int word) {
  return word == 1   ? 0xa2f9836eu
         : word == 2 ? 0x4e441529u
         : word == 3 ? 0xfc2757d1u
         : word == 4 ? 0xf534ddc0u
         : word == 5 ? 0xdb629599u
         : word == 6 ? 0x3c439041u
         : word == 7 ? 0xfe5163abu
                     : 0u;
}
// sin(a + quarter * pi / 2), for any a, without an array that would lie in memory. The argument is multiplied by those 96
// bits of 2 / pi that are not whole turns; what is left lies within pi / 4. The polynomials are those of Cephes.
SPC_FN float spc_sine(float a, u32 quarter) {
  const u32 bits = spc_word(a);
  const int exponent = (int)(bits >> 23 & 255u);
  if (exponent == 255) return a - a;
  float r = a;
  if ((bits & 0x7fffffffu) > 0x3f490fdbu) {  // pi / 4
    const int from = exponent - 150 - 2 + 32, word = from >> 5, shift = from & 31;
    const u64 m = (bits & 0x7fffffu) | 0x800000u;
    u32 w[3];
    SPC_UNROLL
    for (int i = 0; i < 3; ++i) {
      const u64 pair = (u64)spc_two_over_pi(word + i) << 32 | spc_two_over_pi(word + i + 1);
      w[i] = (u32)(pair << shift >> 32);
    }
    const u64 low = m * w[2], middle = m * w[1] + (low >> 32);
    const u32 high = (u32)(m * w[0] + (middle >> 32));
    u32 turns = high >> 30;
    u64 part = ((u64)high << 32 | (u32)middle) << 2;  // of a quarter turn, in 2^-64
    const bool over = part >> 63 != 0;
    if (over) {
      part = 0ull - part;
      ++turns;
    }
    r = (float)part * (1.57079637f * 5.42101086e-20f);
    const bool negative = bits >> 31 != 0;
    if (over != negative) r = -r;
    quarter += negative ? 0u - turns : turns;
  }
  const float z = r * r;
  float y;
  if (quarter & 1u) {
    y = spc_fma(spc_fma(2.44331571e-5f, z, -1.38873163e-3f), z, 4.16666456e-2f);
    y = spc_fma(y * z, z, spc_fma(-0.5f, z, 1.0f));
  } else {
    y = spc_fma(spc_fma(-1.95152959e-4f, z, 8.33216087e-3f), z, -1.66666546e-1f);
    y = spc_fma(y * z, r, r);
  }
  return quarter & 2u ? -y : y;
}
SPC_FN float spc_sin(float a) { return spc_sine(a, 0u); }
SPC_FN float spc_cos(float a) { return spc_sine(a, 1u); }
SPC_FN float spc_floor(float a) { return floorf(a); }
// To the nearest whole number, ties to even.
SPC_FN float spc_rint(float a) { return rintf(a); }
SPC_FN float spc_pow(float a, float b) { return powf(a, b); }
// IEEE 754 maximum and minimum: NaN when either argument is NaN, and +0 is greater than -0.
SPC_FN float spc_max(float a, float b) { return a > b ? a : b > a ? b : a == b && a != 0.0f ? a : a + b; }
SPC_FN float spc_min(float a, float b) { return -spc_max(-a, -b); }

// Integers wrap; division by zero gives 0.
SPC_FN int spc_iadd(int a, int b) { return (int)((u32)a + (u32)b); }
SPC_FN int spc_isub(int a, int b) { return (int)((u32)a - (u32)b); }
SPC_FN int spc_imul(int a, int b) { return (int)((u32)a * (u32)b); }
SPC_FN int spc_idiv(int a, int b) { return b == 0 ? 0 : b == -1 ? spc_isub(0, a) : a / b; }
SPC_FN int spc_imax(int a, int b) { return a > b ? a : b; }
SPC_FN int spc_imin(int a, int b) { return a < b ? a : b; }
// a to the power of e, wrapping; of negative powers only those of 1 and -1 are not 0.
SPC_FN int spc_ipow(int a, int e) {
  if (e < 0) return a == 1 ? 1 : a == -1 ? 1 - 2 * (e & 1) : 0;
  u32 power = 1u, base = (u32)a;
  for (; e > 0; e >>= 1) {
    if (e & 1) power *= base;
    base *= base;
  }
  return (int)power;
}
SPC_FN long long spc_least(long long a, long long b) { return a < b ? a : b; }
SPC_FN long long spc_most(long long a, long long b) { return a > b ? a : b; }
SPC_FN int spc_iabs(int a) { return a < 0 ? spc_isub(0, a) : a; }
// Truncates; numbers outside of int give its nearest end, NaN gives 0.
SPC_FN int spc_to_i32(float a) {
  return a != a ? 0 : a >= 2147483648.0f ? 2147483647 : a <= -2147483648.0f ? -2147483647 - 1 : (int)a;
}

constexpr int SPC_THREADS = 128;  // threads of a block, but for the families of tensor cores
constexpr int SPC_WARPS = SPC_THREADS / 32;

// All kernels compute y[n][o] = act(sum_k w[o][k] * x[n][k] + bias[o]) with x [N][K] and y [N][O] row-major. A block
// computes TOKENS rows of y by one of TILES groups of outputs: block b does group b % TILES of tokens b / TILES.
// S, the shape of a kernel, gives the constants O, K, TOKENS, STEP, TILES, BIAS and those of its family, and act().

// Copies x[n0 .. n0 + TOKENS)[k0 .. k0 + STEP) to xs[k][token], pitch TOKENS + 1, with zeros outside N and K. Neighbouring
// threads read neighbouring k; the odd pitch spreads their stores over the banks.
template <class S>
SPC_FN void spc_stage_x(float* xs, const float* x, int n, int n0, int k0) {
  SPC_UNROLL_4
  for (int i = threadIdx.x; i < S::TOKENS * S::STEP; i += SPC_THREADS) {
    const int t = i / S::STEP, k = i % S::STEP;
    const bool inside = n0 + t < n && k0 + k < S::K;
    xs[k * (S::TOKENS + 1) + t] = inside ? spc_ldg(x + (long long)(n0 + t) * S::K + (k0 + k)) : 0.0f;
  }
}

// Bias, activation and store of one sum.
template <class S>
SPC_FN void spc_store(float* y, const float* bias, int token, int o, float sum) {
  if (S::BIAS) sum += spc_ldg(bias + o);
  y[(long long)token * S::O + o] = S::act(sum);
}
