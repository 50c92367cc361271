//! Densities by shape, positions at random.

/// Every tensor keeps in proportion to (sum of its dimensions / product of its dimensions)^power, never more than it has,
/// and the whole model keeps exactly `density`.
/// Liu et al. 2022, arXiv 2202.02643; the rule is from Evci et al. 2020, arXiv 1911.11134.
pattern erk(density: pct, power: f32 = 1, seed: int = 0) =
  keep erk_density(density, power) of elements per tensor by random(seed)

/// The same density in every tensor, positions at random, counts exact. Liu et al. 2022, arXiv 2202.02643.
pattern uniform(density: pct, seed: int = 0) = keep density of elements per tensor by random(seed)
