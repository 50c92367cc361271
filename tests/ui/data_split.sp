data d from csv "d.csv" {
  axes { I = 2 }
  x: f32[I] = columns(0..2)
  split { train = 80%, test = 30%, seed = 1, by = x }
}
data e from npz "e.npz" { axes { N = 3 } link: relation[N] }
