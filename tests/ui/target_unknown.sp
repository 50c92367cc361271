axis B = 1..8
target t = tpu(threads: 1)
target u = cpu(threads: 1) { B = 9 }
