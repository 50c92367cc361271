//! N:M sparsity. Always says what is KEPT: `nm(1, 4)` keeps one of four.

/// N of every M consecutive weights along one axis (the contracted axis unless told otherwise).
/// Mishra et al. 2021, arXiv 2104.08378.
pattern nm(n: int, m: int, along: axis = in) =
  keep n of m of elements per tile(along: m) by abs

/// The same choice shared by `rows` neighbouring output rows, so that a vector of outputs reads one index.
pattern nm_shared(n: int, m: int, rows: int, along: axis = in, across: axis = out) =
  keep n of m of tile(across: rows) per tile(across: rows, along: m) by norm1

/// Progressive sparsification: M-1:M, M/2:M, .. N:M, each rung for an equal share of the window.
/// Progressive gradient flow, Bambhaniya et al. 2024, arXiv 2402.04744.
pattern nm_ladder(n: int, m: int, window: range = 10%..80% of steps, along: axis = in) =
  keep ladder(m - 1, halving(m / 2, n), window) of m of elements per tile(along: m) by abs
