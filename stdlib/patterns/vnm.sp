//! V:N:M, two sentences in a row: the second counts only inside what the first kept.

/// In every V x M tile keep four columns, then N of those four in each row; hardware always sees N:4.
/// `by joint` scores a choice by what the next sentence can keep of it; per-column sums are not optimal.
/// VENOM, Castro et al. 2023, arXiv 2310.02065.
pattern vnm(v: int, n: int, m: int, along: axis = in, across: axis = out) =
  keep 4 of m of tile(across: v) per tile(across: v, along: m) by joint
  then keep n of 4 of elements per tile(along: m) by abs
