axis Batch = 1..8, I = 4
fn twice(x: f32[Bacth, I]) -> y: f32[Bacth, I] { y = 2 * x }
fn first(x: f32[J, I]) -> y: f32[I] { y[i] = x[0, i] }
