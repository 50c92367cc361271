//! Joined values, shifted reads, choices and what is not a sum.
axis B = 1..3, T = 2..9, S = 1..5, D = 6
fn f(x: f32[B, T, D], z: f32[B, S, D], real: bool[B, T]) ->
  (longest: f32[B, D], mixed: f32[B, D], best: i32[B, T], some: bool[B], each: bool[B], whole: f32[B], n: f32)
{
  joined        = concat(x, z, along: T)
  longest[b, d] = max(joined[b, j, d] over j)
  shifted[b, t, d] = x[b, t - 1, d] + x[b, t + 1, d] + 0 * x[b, t, d]
  mixed[b, d]   = shifted[b, t, d] * x[b, t, d]
  best[b, t]    = argmax(x[b, t, d] over d)
  some[b]       = any(real[b, t] over t)
  each[b]       = all(real[b, t] over t)
  whole[b]      = product(x[b, t, 0] over t)
  n             = size(T)
}
require few: keep 30% of slices(T) of f.shifted per B by abs
