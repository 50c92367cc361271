fn grows(x) = grows(x)
fn tensor(x: f32[B, I]) -> y: f32[B, I] { y = x }
fn steps(x: f32) -> y: f32 {
  for l in 4 { y = x }
}
penalty cyclic() radial { value(x) = grows(x) }
penalty wide() radial { value(x) = tensor(x) }
penalty loops() radial { value(x) = steps(x) }
penalty few() radial { value(x) = max(steps(), x) }
penalty remembers() radial {
  state s: f32 like w = 0
  value(x) = x
}
penalty solves(mu: f32) radial {
  value(x)     = mu * x
  prox(x, tau) = root((t) => t + tau * mu * x, 0..inf)
}
update chooses(k: int = 4) {
  state fed: f32 like w = 0
  mask sent = top(k, by: abs(fed))
  step(w, g, lr) -> w { w = w - lr * g }
}
update early(c: constraint) {
  mask sent = top(4, by: abs(g), per: c)
  forward(w) = w * sent
}
