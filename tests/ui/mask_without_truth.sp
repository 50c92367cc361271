mask distance(q, k) = q - k
