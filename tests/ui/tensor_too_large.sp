model net {
  axes { I = 1000000000, O = 1000000000 }
  w: f32[O, I]
}
