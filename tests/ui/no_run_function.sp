axis B = 1..8
data d from csv "d.csv" { axes { I = 4 } x: f32[I] = columns(0..4) }
fn f(x: f32[B, I]) -> y: f32[B, I] { y = x * 2 }
run r { report: [time] }
