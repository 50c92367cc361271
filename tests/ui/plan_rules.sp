axis B = 1..8
model net { axes { I = 4, O = 2 } w: f32[O, I] }
fn f(x: f32[B, I]) -> y: f32[B, O] { y[b, o] = net.w[o, i] * x[b, i] }
target laptop = cpu(threads: 1)
plan a for latop { search: egraph(nodes: 100) }
plan b for laptop { layout: forbid(net.w, csrr) }
plan c { layout: [prefer(net.v, csr)] }
plan d { search: anneal(nodes: 10) }
