use std.penalties.l1
use std.score.wanda
axis B = 1..8
model net { axes { I = 8, O = 2 } w: f32[O, I] }
fn f(x: f32[B, I]) -> y: f32[B, O] { y[b, o] = net.w[o, i] * x[b, i] }
data graph from npz "graph.npz" {
  axes { N = 9, M = 4 }
  x: f32[N, I]
  link: relation[N, N]
  across: relation[N, M]
  one: f32[N, N]
}
group edge = pairs(graph.link, undirected)
group misspelt = pairs(graph.lnk)
group values = pairs(graph.one)
group oblong = pairs(graph.across, undirected)
require good: keep 78% of edge per model by random(7)
score degree(link: relation[N, N]) -> s: f32[N, N] {
  d[n]    = count(m in link[n])
  s[n, m] = d[n] * d[m]
}
require ranked: keep 78% of edge per model by degree(graph.link)
require lost: keep 78% of edge per model by degree(graph.lnk)
require dense: keep 78% of edge per model by degree(graph.one)
require inputs: keep 78% of edge per model by wanda(graph)
require unscored: keep 78% of edge per model
require weighed: keep 78% of edge per model by abs
require tiled: keep 78% of edge per tile(in: 4) by random(7)
require placed: keep 78% of edge per model by random(7) on net.w
require directed: keep 10 of pairs(graph.across) per model by random(7)
penalize pull: 0.1 * l1() of edge
