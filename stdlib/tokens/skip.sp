//! Tokens that a block computes, and tokens that skip it.

/// The block's result `y` for the chosen tokens, its input `x` for the others. The first and the last token always pass.
fn skip(x: float[B, T, D], y: float[B, T, D], importance: float[B, T], share: amount = 50%) -> z: float[B, T, D] {
  pass = select(keep share of slices(T) per B by importance always first 1, last 1)
  z    = if pass { y } else { x }
}

/// Attention that each token received: mean probability over heads and queries.
fn received(p: float[B, H, T, S]) -> a: f32[B, S] {
  a[b, s] = mean(p[b, h, t, s] over h, t)
}
