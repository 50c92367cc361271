//! Dense building blocks in index notation. Each body is the reference meaning; the compiler may use any exact rewrite.
//! `float` is the caller's floating type, `..` is every axis not named, and a repeated right-hand index is summed.

/// y = x wᵀ + b
fn linear(x: float[.., I], w: float[O, I], b: float[O] = 0) -> y: float[.., O] {
  y[.., o] = w[o, i] * x[.., i] + b[o]
}

/// One row of `table` per id.
fn embedding(ids: i32[..], table: float[V, D]) -> y: float[.., D] {
  y[.., d] = table[ids[..], d]
}
