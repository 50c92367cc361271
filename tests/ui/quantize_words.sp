axis B = 1..8
model net { axes { I = 32, O = 16 } w: f32[O, I]  b: f32[O] }
fn f(x: f32[B, I]) -> y: f32[B, O] { y[b, o] = net.w[o, i] * x[b, i] + net.b[o] }
quantize a: net.w to int9(per: tensor)
quantize b: net.w to int8(per: tile(in: 5))
quantize c: net.w to f16(per: tensor)
quantize d: net.w to int4(in: 16)
quantize e: net.w to int8 multiple 4
quantize g: net.v to int8
quantize h: net.w to int8(per: tile(in: all)) at end
quantize i: net.* to int4(per: tile(in: 16))
