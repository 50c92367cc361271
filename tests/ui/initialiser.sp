axis I = 4
model net { a: f32[I] = kaimin()  b: f32[I] = normal()  c: i32[I] = glorot()  d: f32[I] = zeros(3)  e: f32[I] = 0 }
