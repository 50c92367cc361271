//! Which experts compute a token.

/// Weights of the experts: a softmax over all of them, 0 for those that are not chosen. The softmax comes before the choice,
/// so that a single chosen expert still has a gradient.
fn route(logits: float[.., E], experts: amount = 2) -> (mix: f32[.., E], prob: f32[.., E]) {
  prob = softmax(logits over E)
  mix  = gather(prob, select(keep experts of slices(E) by prob))
}

/// As `route`, with the weights of the chosen experts scaled to sum to 1. With one expert its weight is always 1, and the
/// router has no gradient.
fn route_scaled(logits: float[.., E], experts: amount = 2) -> mix: f32[.., E] {
  (kept, _)  = route(logits, experts: experts)
  mix[.., e] = kept[.., e] / sum(kept[.., e] over e)
}
