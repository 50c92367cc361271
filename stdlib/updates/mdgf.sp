//! Mask decay gradient flow: pruned weights fade out instead of vanishing.
//! Bambhaniya et al. 2024, arXiv 2402.04744.

schedule linear_fade(beta: f32, from: time = 0%) = max(0, 1 - beta * (step - from))
schedule exp_fade(beta: f32, from: time = 0%)    = exp(-beta * (step - from))

/// `scaled: true` also fades the gradient of pruned weights, as the paper's text says; the published code does not.
update mdgf(c: constraint, decay: schedule = exp_fade(2e-4), scaled: bool = false) {
  mask m = select(c)
  fade = if progress >= 90% { 0 } else { decay }
  forward(w) = w * (m + (1 - m) * fade)
  grad(g)    = if scaled { g * (m + (1 - m) * fade) } else { g }
}
