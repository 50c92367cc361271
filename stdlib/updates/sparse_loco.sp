//! Sparse, quantised outer steps of distributed training, one replica.

/// SparseLoCo. Sarfi et al. 2025. `g` is the replica's pseudo-gradient: shared weights minus its own after some local
/// steps. Of each chunk (the constraint's scope: `keep all of elements per tile(out: 64, in: 64)`) the `n` largest entries of
/// the error-fed gradient are sent, in two bits each: four bins around the mean, each sent as the mean of what is in it. What
/// was not sent, or lost by rounding, waits in `rest`. With the learning rate 1 the weights of a replica move by exactly what
/// it sends, so the mean of the replicas' weights is the outer step of the mean.
update sparse_loco(c: constraint, n: int = 64, decay: f32 = 0.95, quantised: bool = true) {
  state rest: f32 like w = 0
  fed = decay * rest + g
  step(w, g, lr) -> w {
    sent   = top(n, by: abs(fed), per: c)
    middle = mean(fed where sent)
    spread = sqrt(mean((fed - middle)^2 where sent))
    bin    = clip(floor((fed - middle) / (if spread > 0 { 1.5 * spread } else { 1 }) + 2.5), 0, 3)
    coded  =
      if bin == 0 { mean(fed where sent && bin == 0) }
      else if bin == 1 { mean(fed where sent && bin == 1) }
      else if bin == 2 { mean(fed where sent && bin == 2) }
      else { mean(fed where sent && bin == 3) }
    out    = sent * (if quantised { coded } else { fed })
    rest   = fed - out
    w      = w - lr * out
  }
  observe waiting = mean(abs(rest))
}
