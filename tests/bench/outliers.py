"""Writes the two programs of docs/benchmarks.md that the compiler changes in structure: `outliers.py FOLDER`.

outliers.sp: one weight in 16 x 1 blocks at 80 % zeros, with 1 % of random outliers.
shuffled.sp: a feed-forward pair whose first weight is in 16 x 1 blocks at 75 % zeros, its neurons shuffled.
"""
import array
import json
import os
import random
import struct
import sys


def save(path, tensors):
    head, blobs, at = {}, [], 0
    for name, (shape, values) in tensors.items():
        blob = array.array("f", values).tobytes()
        head[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + len(blob)]}
        at += len(blob)
        blobs.append(blob)
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def blocks(rows, cols, share, outliers):
    """Rows of a matrix of which `share` of the 16 x 1 blocks stay, and `outliers` of all other elements."""
    out = [[0.0] * cols for _ in range(rows)]
    for top in range(0, rows, 16):
        for j in range(cols):
            keep = random.random() < share
            for i in range(top, top + 16):
                if keep or random.random() < outliers:
                    out[i][j] = random.gauss(0, 0.05)
    return out


def flat(rows):
    return [v for row in rows for v in row]


def main(folder):
    random.seed(1)
    n = 2048
    save(os.path.join(folder, "outliers.safetensors"), {"w": ([n, n], flat(blocks(n, n, 0.2, 0.01)))})
    d, f = 512, 2048
    up, down = blocks(f, d, 0.25, 0.0), [[random.gauss(0, 0.05) for _ in range(f)] for _ in range(d)]
    order = random.sample(range(f), f)
    up, down = [up[i] for i in order], [[row[i] for i in order] for row in down]
    save(os.path.join(folder, "shuffled.safetensors"), {"up": ([f, d], flat(up)), "down": ([d, f], flat(down))})
    head = "edition 1\nuse std.nn\naxis B = 1..512\nmodel m from safetensors \"%s.safetensors\" {\n"
    targets = "".join("target t%d = cpu(threads: 1) { B = %d }\n" % (b, b) for b in (1, 16, 128))
    with open(os.path.join(folder, "outliers.sp"), "w") as out:
        out.write(head % "outliers" + "  axes { O = 2048, K = 2048 }\n  w: f32[O, K]\n}\n")
        out.write("fn f(x: f32[B, K]) -> y: f32[B, O] { y = nn.linear(x, m.w) }\n" + targets)
    with open(os.path.join(folder, "shuffled.sp"), "w") as out:
        out.write(head % "shuffled" + "  axes { D = 512, F = 2048 }\n  up: f32[F, D]\n  down: f32[D, F]\n}\n")
        out.write("fn f(x: f32[B, D]) -> y: f32[B, D] { y = nn.linear(nn.gelu(nn.linear(x, m.up)), m.down) }\n" + targets)


main(sys.argv[1] if len(sys.argv) > 1 else ".")
