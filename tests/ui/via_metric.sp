use std.penalties
axis B = 1..8
model net { axes { I = 4, O = 2 } w: f32[O, I] }
fn f(x: f32[B, I]) -> y: f32[B, O] { y[b, o] = net.w[o, i] * x[b, i] }
penalize good: 0.1 * penalties.l1() of elements via prox(metric: euclid)
penalize fine: 0.1 * penalties.l1() of elements via prox(metric: optimizer)
penalize other: 0.1 * penalties.l1() of elements via prox(metric: taxicab)
penalize plain: 0.1 * penalties.l1() of elements via prox(euclid)
penalize more: 0.1 * penalties.l1() of elements via subgrad(metric: euclid)
penalize none: 0.1 * penalties.l1() of elements via proximal(metric: euclid)
