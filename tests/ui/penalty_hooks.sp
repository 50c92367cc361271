penalty plain() { value(x) = x }
penalty free() radial { prox(x, tau) = max(x - tau, 0) }
penalty spread() of groups { value(a[j]) = a[j] }
penalty index() of groups { value(a[j]) = sum(a[i] over i) }
penalty mixed() = l1() of elements then free() of rows
penalty loop() radial = pool()
penalty pool() radial = loop()
