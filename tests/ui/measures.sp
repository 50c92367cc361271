axis B = 1..8
model net { axes { I = 4, O = 2 } w: f32[O, I] }
fn f(x: f32[B, I]) -> y: f32[B, O] { y[b, o] = net.w[o, i] * x[b, i] }
target laptop = cpu(threads: 1)
expect speed(f, on: laptop, over: dense) >= 2
expect speedup(f, on: phone, over: dense) >= 2
expect time(f, on: laptop) <= 5 MiB
expect kept(net) <= 50%
expect speedup(f, on: laptop) >= 2
expect size(net, on: disk) <= 2 * time(f, on: laptop)
