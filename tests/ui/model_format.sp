model net from pickle "net.pkl" { axes { I = 4 } w: f32[I] }
