schedule late = if progress { 1 } else { 0 }
schedule mixed(beta: f32) = (progress >= 50%) * beta
schedule loop(x: number) = pool(x)
schedule pool(x: number) = loop(x)
