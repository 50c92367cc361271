//! Prune and grow beside a gradient mask, for training on a stream of tasks.

/// SparCL's dynamic masks. Wang et al. 2022. Every `interval` steps the share `spare` of the weights that are
/// there is pruned by `abs(w) + lambda * abs(g)`, and as many places that were empty come back at 0. Between, only the
/// weights with the largest gradients move: the share `moving`, chosen anew every `refine` steps. Make `interval` a multiple
/// of `refine`. The paper also lets the density move between two bounds; here its upper bound is the constraint's amount.
/// Dropping easy samples is the data loader's part and not here.
update prune_grow(
  c: constraint,
  spare: schedule = steps([4%, 4%, 0%], at: [10%, 80%]),
  lambda: f32 = 0.5,
  interval: int = 300,
  refine: int = 30,
  moving: pct = 20%,
  grow: score = random(7),
) {
  mask m     = select(c) at init
  mask sharp = m at init  // the weights that move
  forward(w) = w * m
  grad(g)    = g * sharp
  refresh(w, g, moments) -> (w, moments) every refine steps {
    due     = if step + 1 == interval * floor((step + 1) / interval) { 1 } else { 0 }
    n       = due * floor(spare * count(m per c))
    kept    = top(count(m per c) - n, by: abs(w) + lambda * abs(g), among: m, per: c)
    new     = top(n, by: grow, among: !m, per: c)
    w       = w * kept
    moments = moments * kept
    m       = kept || new
    sharp   = top(floor(moving * count(m per c)), by: abs(g), among: m, per: c)
  }
  observe still = mean(!sharp)
}
