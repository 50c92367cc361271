//! Weights stay as they are; what is learned is which of them to keep.

/// The update of PST, parameter-efficient sparse training, with one learned number for each weight. Li et al. 2022. Weights are frozen
/// bit for bit. They are ranked by `abs(w) + alpha * s`; the gradient of the masked weight times the weight reaches `s`
/// straight through the mask, so a weight that would help is kept although it is small. `s` begins at 0: the first mask is that of
/// magnitudes. The paper's schedule is an amount, `keep cubic(100% -> 10%, 10%..70%) of elements per tensor`.
/// The paper does not store `s`: it is a product of two thin matrices plus a number for each row and each column, and the weight
/// gets a low-rank part of its own. A `state` here has one number for each weight, and hooks have no sums along rows or
/// columns, so these factors, which make 1.5 % of the parameters do, are what is missing; their span is part of what `s` learns.
update learned_score(c: constraint, alpha: f32 = 1) {
  state s: f32 like w = 0
  mask due = select(c)  // as many as the schedule keeps in this step
  mask m   = top(count(due per c), by: abs(w) + alpha * s, per: c)
  forward(w) = w * m
  step(w, g, lr) -> w {
    s = s - lr * alpha * (g * w)
    w = w
  }
  observe moved = count(m != due)  // kept although magnitude alone would not, and the reverse
}
