data d from csv "d.csv" { axes { I = 4 } x: f32[I] = row(3) }
