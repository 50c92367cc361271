axis I = 32
model net { axes { I = 64 } w: f32[I] }
