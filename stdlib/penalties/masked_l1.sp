//! Shrink only what has already been chosen to go. MaskSparsity, Jiang et al. 2021.

/// l1 on the part that `c` does not keep; the kept part has bit-identical gradients.
penalty masked_l1(c: constraint, weight: f32 = 5e-4) =
  l1(weight) of elements where !select(c)

/// The share of the energy that an entry and all smaller ones hold. Equal magnitudes: the later one counts as smaller.
score energy_rank(x: f32[J]) -> s: f32[J] {
  r    = rank(abs(x) over J)
  e[j] = sum(if r[i] >= r[j] { x[i] * x[i] } else { 0 } over i)
  s[j] = e[j] / sum(x[i] * x[i] over i)
}

/// Per tensor, the largest threshold whose discarded energy is at most `share` of the whole.
pattern energy_threshold(share: f32 = 1e-4) = keep above share of elements per tensor min 1 per tensor by energy_rank
