model net { axes { I = 4, O = 2 } w: f32[O, Q] }
fn f(x: f32[I]) -> y: f32[O] { y[o] = net.w[o, i] * x[i] }
