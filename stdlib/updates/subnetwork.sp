//! Fine-tuning that changes few weights.

/// The first `dense` steps train everything. What has then moved by more than `tolerance` is the subnetwork: weights go back to
/// where they began, and for the rest of the run only the subnetwork moves, all else stays bit-identical. Use it with
/// `keep all of elements`. Whether a small change counts depends on the type that weights are stored in: masters are f32.
/// After the finding that reinforcement learning changes 5 to 30 % of the weights, Mukherjee et al. 2025.
update subnetwork(c: constraint, dense: int = 1000, tolerance: f32 = 1e-5) {
  state start: f32 like w = w
  state moves: bool like w = true
  grad(g)  = g * moves
  after(w) = if moves { w } else { start }  // decoupled decay and momentum do not reach the others either
  refresh(w, moments) -> (w, moments) every dense steps until dense * 1 steps {
    moves   = abs(w - start) > tolerance
    w       = start
    moments = 0 * moments
  }
  observe update_sparsity = mean(abs(w - start) <= tolerance)
}
