axis B = 1..8
fn f(x: f32[B]) -> y: f32[B] { y = x * 2 }
target laptop = cpu(threads: 1)
plan fast for laptop { search: egraph(nodes: 50_000) }
