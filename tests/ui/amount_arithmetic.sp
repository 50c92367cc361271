axis B = 1..8, T = 1..64, C = 4
const KEEP = 100% - 25%
const LESS = KEEP / 3
model net { axes { I = 8, O = 8 } w: f32[O, I] }
fn f(x: f32[B, I]) -> y: f32[B, O] { y[b, o] = net.w[o, i] * x[b, i] }
fn g(x: f32[B, T, C], by_parts: amount = 50%) -> y: f32[B, T, C] {
  s[b, t] = sum(x[b, t, c] over c)
  a = gather(x, select(keep 100% - 25% of slices(T) per B by s))
  b = gather(x, select(keep KEEP - LESS of slices(T) per B by s))
  c = gather(x, select(keep by_parts / 2 of slices(T) per B by s))
  y = a + b + c
}
fn above_all(x: f32[B, T, C]) -> y: f32[B, T, C] {
  s[b, t] = sum(x[b, t, c] over c)
  y = gather(x, select(keep 100% + 25% of slices(T) per B by s))
}
require half: keep KEEP - 25% of elements per tensor
require more: keep 3 * 50% of elements per tensor
