// ---- tensor cores, asynchronous copies and matrix loads: the only inline PTX. bf16 numbers travel in pairs, the first in
// the low half of a word.
#if !defined(SPC_EMU)
// Weights are read once: not kept in L1. The four-word load needs 16-byte alignment.
SPC_FN spc_w4 spc_stream4(const u32* p) {
  spc_w4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(p));
  return v;
}
SPC_FN u32 spc_stream(const u32* p) {
  u32 v;
  asm volatile("ld.global.nc.L1::no_allocate.u32 %0, [%1];" : "=r"(v) : "l"(p));
  return v;
}
SPC_FN u32 spc_shared(const void* p) { return (u32)__cvta_generic_to_shared(p); }
// Copies 16 bytes to shared memory, of which the first `bytes` (0 or 16) come from p and the others are zero. The copy is
// there for its own thread after the wait that covers its group, and for others after a barrier that follows.
SPC_FN void spc_copy16(void* shared, const void* p, int bytes) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(spc_shared(shared)), "l"(p), "r"(bytes) : "memory");
}
SPC_FN void spc_copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Until all but the N latest groups of this thread are complete.
template <int N>
SPC_FN void spc_copy_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}
// The f16 numbers of a word, the first in the low half.
SPC_FN void spc_halves(float (&v)[2], u32 word) {
  asm("{\n.reg .b16 %%spc_low, %%spc_high;\nmov.b32 {%%spc_low, %%spc_high}, %2;\n"
      "cvt.f32.f16 %0, %%spc_low;\ncvt.f32.f16 %1, %%spc_high;\n}"
      : "=f"(v[0]), "=f"(v[1])
      : "r"(word));
}
// Four 8 x 8 matrices of 16-bit numbers; lane l gives the address of row l % 8 of matrix l / 8, 16 bytes.
SPC_FN void spc_load_matrices(u32 (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(spc_shared(row))
               : "memory");
}
// As spc_load_matrices, each matrix turned: the lane's row is a column of what it gets.
SPC_FN void spc_load_turned(u32 (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(spc_shared(row))
               : "memory");
}
// d[16][8] += a[16][16] * b[16][8].
SPC_FN void spc_mma_step(float (&d)[4], const spc_w4& a, u32 b0, u32 b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));
}
// d[16][8] += a[16][32] * b[32][8], a with 2 of 4 kept; H says which lanes of a quad hold the positions: the first two (0)
// or the last two (1).
template <int H>
SPC_FN void spc_mma24_step(float (&d)[4], const spc_w4& a, const u32 (&b)[4], u32 meta) {
  asm volatile(
      "mma.sp::ordered_metadata.sync.aligned.m16n8k32.row.col.f32.bf16.bf16.f32 "
      "{%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9,%10,%11},{%0,%1,%2,%3},%12,%13;"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b[0]), "r"(b[1]), "r"(b[2]), "r"(b[3]), "r"(meta), "n"(H));
}
#endif
