axis B = 1..8
model net { axes { I = 32, O = 16 } w: f32[O, I] v: f32[O, I] }
fn f(x: f32[B, I]) -> y: f32[B, O], z: f32[B, O] {
  y[b, o] = net.w[o, i] * x[b, i]
  z[b, o] = net.v[o, i] * x[b, i]
}
quantize a: net.w to int8(inputs: int4)
quantize b: net.w to bf16(inputs: int8)
quantize c: net.w to int8(inputs: int8, per: tensor, inputs: int8)
quantize d: net.w to int8(scale: f16, inputs: int8, scale: f16)
quantize g: net.w to bf16(scale: f16)
quantize h: net.w to int4(per: tensor, scale: f32)
quantize i: net.w to int4(scale: f16, zero: f16)
quantize e: net.v to int8(inputs: int8)
