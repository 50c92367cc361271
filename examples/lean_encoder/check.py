"""Compares a zeroed and a shrunk file of net.sp by numpy alone: both give the same values.

    python3 check.py zeroed.safetensors small.safetensors [x.npy y.npy]

With x and y, also compares y with what numpy computes from x. Sizes are read from the files, not from the program.
"""

import json
import math
import struct
import sys

import numpy as np


def weights(path):
    raw = open(path, "rb").read()
    (n,) = struct.unpack_from("<Q", raw)
    out = {}
    for name, t in json.loads(raw[8 : 8 + n]).items():
        if name != "__metadata__":
            start, end = t["data_offsets"]
            out[name] = np.frombuffer(raw[8 + n + start : 8 + n + end], "<f4").reshape(t["shape"]).astype(np.float64)
    return out


def norm(x, scale, shift):
    mean = x.mean(axis=-1, keepdims=True)
    var = ((x - mean) ** 2).mean(axis=-1, keepdims=True)
    return (x - mean) / np.sqrt(var + 1e-5) * scale + shift


erf = np.vectorize(math.erf, otypes=[np.float64])


def encode(w, x, heads=2, layers=2):
    def split(y):
        return y.reshape(*y.shape[:2], heads, -1).transpose(0, 2, 1, 3)

    for layer in range(layers):
        p = {name.rsplit(".", 1)[1]: t for name, t in w.items() if name.startswith(f"layer.{layer}.")}
        q, k, v = (split(x @ p[n].T) for n in ("wq", "wk", "wv"))
        scores = q @ k.transpose(0, 1, 3, 2) / math.sqrt(q.shape[-1])
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = (scores / scores.sum(axis=-1, keepdims=True) @ v).transpose(0, 2, 1, 3).reshape(x.shape)
        x = norm(x + mixed @ p["wo"].T, p["norm1"], p["shift1"])
        h = x @ p["up"].T + p["bu"]
        h = 0.5 * h * (1 + erf(h / math.sqrt(2)))
        x = norm(x + h @ p["down"].T + p["bd"], p["norm2"], p["shift2"])
    return x


def main():
    zeroed, small = weights(sys.argv[1]), weights(sys.argv[2])
    if len(sys.argv) > 3:
        x, y = (np.load(p).astype(np.float64) for p in sys.argv[3:5])
    else:
        x, y = np.random.default_rng(1).standard_normal((2, 5, 8)), None
    a, b = encode(zeroed, x), encode(small, x)
    worst = abs(a - b).max() if y is None else max(abs(a - b).max(), abs(a - y).max())
    print(f"neurons {zeroed['layer.0.up'].shape[0]} and {small['layer.0.up'].shape[0]}, greatest difference {worst:.1e}")
    sys.exit(0 if worst < 1e-5 else 1)


if __name__ == "__main__":
    main()
