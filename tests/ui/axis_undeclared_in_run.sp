axis I = 4
data d from csv "d.csv" { x: f32[I] = columns(0..4) }
fn f(x: f32[B, I]) -> y: f32[B, I] { y = 2 * x }
run go { call: f(d.x)  report: [time] }
