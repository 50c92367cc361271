//! Norms, batch-norm and constants that fold into weights, beside some that do not: a result, and a norm that is added again.
use std.nn
axis B = 1..3
model net {
  axes { I = 3, M = 8, K = 3, D = 8, N = 5, O = 4 }
  conv: f32[M, I, K, K]  bias: f32[M]
  mu: f32[M]  var: f32[M] = ones()  scale: f32[M]  shift: f32[M]
  gain: f32[M]  move: f32[M]
  up: f32[D, M]  bu: f32[D]  gate: f32[D, M]
  norm: f32[D] = ones()
  down: f32[N, D]
  last: f32[O, N]
}
fn f(x: f32[B, I, 6, 5]) -> (y: f32[B, O], h: f32[B, D]) {
  c = nn.relu(nn.batchnorm(nn.conv2d(x, net.conv, net.bias, pad: 1), net.mu, net.var, net.scale, net.shift))
  p = nn.layernorm(nn.global_avg_pool(c), net.gain, net.move)
  u = nn.linear(p, net.up, net.bu) * 0.5
  h = nn.rmsnorm(u * nn.silu(nn.linear(p, net.gate)), net.norm)
  y = nn.linear(nn.linear(h, net.down) * 3 + 1, net.last)
}
require few: keep 40% of elements per tensor on net.conv
require half: keep 1 of 2 of elements per tile(in: 2) on net.down
