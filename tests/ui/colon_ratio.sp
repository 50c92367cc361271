require half: keep 2:4 of elements per tile(in: 4)
