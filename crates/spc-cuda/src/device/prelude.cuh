// ---- prelude: every device feature that the kernels use. With -DSPC_EMU the same text is plain C++17 for a CPU.
typedef unsigned char u8;
typedef unsigned int u32;

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
SPC_FN float spc_sin(float a) { return sinf(a); }
SPC_FN float spc_cos(float a) { return cosf(a); }
SPC_FN float spc_floor(float a) { return floorf(a); }
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
