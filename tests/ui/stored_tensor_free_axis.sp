axis B = 1..8
model net { w: f32[B] }
