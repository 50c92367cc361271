//! Shrink only what has already been chosen to go. MaskSparsity, Jiang et al. 2021.

/// l1 on the part that `c` does not keep; the kept part has bit-identical gradients.
penalty masked_l1(c: constraint, weight: f32 = 5e-4) =
  l1(weight) of elements where !select(c)
