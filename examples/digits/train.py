"""Trains the network of digits.sp and writes digits.safetensors. Needs numpy, nothing else.

    python3 train.py            train, print accuracies, write digits.safetensors
    python3 train.py --check    print the accuracies of the file that is there

One dense set of weights is stored. The loss is the cross entropy of the dense network plus that of the network under
the masks that digits.sp declares, so the same file works dense and after projection:

    w1  keep 2 of 4 of elements per tile(in: 4) by abs
    w2  keep 25% of tile(out: 16, in: 1) per tensor by norm2
    w3  dense

Ties go to the lower index, as in spc. Rows of test_rows.txt are never trained on; no choice below was made by them.
Seeds are fixed; the last bits still depend on the BLAS that numpy uses.
"""

import argparse
import csv
import gzip
import json
import math
import os
import struct
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
SIZES = [64, 256, 128, 10]
NAMES = ["w1", "b1", "w2", "b2", "w3", "b3"]
EPOCHS, BATCH, RATE, DECAY, DROPOUT = 120, 64, 2e-3, 2e-2, 0.2
REFRESH = 1  # epochs between two choices of the masks
SEED = 7
TEST_ROWS = 360


def load():
    """Images [1797, 64] in 0..1 and labels [1797], in the order of the file."""
    with gzip.open(HERE / "digits.csv.gz", "rt", newline="") as f:
        rows = np.array([[float(v) for v in row] for row in csv.reader(f)])
    return (rows[:, :64] / 16).astype(np.float32), rows[:, 64].astype(np.int64)


def test_rows(labels):
    """The committed list; made once, stratified by label (largest remainders), where it is missing."""
    path = HERE / "test_rows.txt"
    if not path.exists():
        rng = np.random.default_rng(SEED)
        share = np.bincount(labels) * (TEST_ROWS / len(labels))
        count = np.floor(share).astype(int)
        count[np.argsort(count - share, kind="stable")[: TEST_ROWS - count.sum()]] += 1
        rows = [rng.permutation(np.flatnonzero(labels == d))[:n] for d, n in enumerate(count)]
        path.write_text("".join(f"{r}\n" for r in sorted(np.concatenate(rows))))
    return np.array([int(line) for line in path.read_text().split()])


def keep_n_of_m(w, n, m):
    """Per row, the n largest |w| of every m consecutive columns."""
    scores = np.abs(w).reshape(w.shape[0], -1, m)
    order = np.argsort(-scores, axis=2, kind="stable")[:, :, :n]
    mask = np.zeros(scores.shape, w.dtype)
    np.put_along_axis(mask, order, 1, axis=2)
    return mask.reshape(w.shape)


def keep_columns(w, rows, percent):
    """The share of rows x 1 tiles of largest 2-norm, at least one, over the whole tensor; tiles in row-major order."""
    tiles = w.astype(np.float64).reshape(w.shape[0] // rows, rows, w.shape[1])
    scores = np.sqrt((tiles**2).sum(axis=1)).ravel()
    amount = max(1, math.ceil(percent * len(scores) / 100))
    mask = np.zeros(len(scores), w.dtype)
    mask[np.argsort(-scores, kind="stable")[:amount]] = 1
    return np.repeat(mask.reshape(w.shape[0] // rows, w.shape[1]), rows, axis=0)


def masks(p):
    return {"w1": keep_n_of_m(p["w1"], 2, 4), "w2": keep_columns(p["w2"], 16, 25), "w3": np.ones_like(p["w3"])}


def project(p):
    m = masks(p)
    return {k: p[k] * m[k] if k in m else p[k] for k in NAMES}


def logits(p, x):
    h1 = np.maximum(x @ p["w1"].T + p["b1"], 0)
    h2 = np.maximum(h1 @ p["w2"].T + p["b2"], 0)
    return h2 @ p["w3"].T + p["b3"]


def accuracy(p, x, y):
    return float((logits(p, x).argmax(axis=1) == y).mean())


def gradients(p, x, y, drop):
    """Gradients of the mean cross entropy. `drop` scales the hidden units: 0 or 1/(1-rate)."""
    h1 = np.maximum(x @ p["w1"].T + p["b1"], 0) * drop[0]
    h2 = np.maximum(h1 @ p["w2"].T + p["b2"], 0) * drop[1]
    z = h2 @ p["w3"].T + p["b3"]
    e = np.exp(z - z.max(axis=1, keepdims=True))
    d3 = e / e.sum(axis=1, keepdims=True)
    d3[np.arange(len(y)), y] -= 1
    d3 /= len(y)
    d2 = (d3 @ p["w3"]) * drop[1] * (h2 > 0)
    d1 = (d2 @ p["w2"]) * drop[0] * (h1 > 0)
    return {
        "w1": d1.T @ x, "b1": d1.sum(axis=0),
        "w2": d2.T @ h1, "b2": d2.sum(axis=0),
        "w3": d3.T @ h2, "b3": d3.sum(axis=0),
    }  # fmt: skip


def train(x, y):
    """AdamW (Loshchilov and Hutter 2019) with a cosine rate on the sum of the dense and the masked loss."""
    rng = np.random.default_rng(SEED)
    p = {}
    for i, (fan_in, fan_out) in enumerate(zip(SIZES, SIZES[1:]), 1):
        p[f"w{i}"] = rng.normal(0, math.sqrt(2 / fan_in), (fan_out, fan_in)).astype(np.float32)
        p[f"b{i}"] = np.zeros(fan_out, np.float32)
    first = {k: np.zeros_like(v) for k, v in p.items()}
    second = {k: np.zeros_like(v) for k, v in p.items()}
    steps_per_epoch = len(x) // BATCH
    step, steps = 0, EPOCHS * steps_per_epoch
    for epoch in range(EPOCHS):
        if epoch % REFRESH == 0:
            m = masks(p)
        order = rng.permutation(len(x))
        for b in range(steps_per_epoch):
            step += 1
            rate = RATE * 0.5 * (1 + math.cos(math.pi * step / steps))
            rows = order[b * BATCH : (b + 1) * BATCH]
            drop = [(rng.random((BATCH, n)) >= DROPOUT).astype(np.float32) / (1 - DROPOUT) for n in SIZES[1:3]]
            dense = gradients(p, x[rows], y[rows], drop)
            thin = gradients({k: v * m.get(k, np.float32(1)) for k, v in p.items()}, x[rows], y[rows], drop)
            for k in NAMES:
                g = dense[k] + thin[k] * m.get(k, np.float32(1))
                first[k] = 0.9 * first[k] + 0.1 * g
                second[k] = 0.999 * second[k] + 0.001 * g * g
                update = first[k] / (1 - 0.9**step) / (np.sqrt(second[k] / (1 - 0.999**step)) + 1e-8)
                decay = DECAY if k.startswith("w") else 0
                p[k] = (p[k] - rate * (update + decay * p[k])).astype(np.float32)
    return p


def save(path, p):
    """safetensors: u64 length, JSON header padded to 64 bytes, data in the order of the header."""
    header, offset = {}, 0
    for k in NAMES:
        header[k] = {"dtype": "F32", "shape": list(p[k].shape), "data_offsets": [offset, offset + p[k].nbytes]}
        offset += p[k].nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 8) % 64)
    data = b"".join(np.ascontiguousarray(p[k], "<f4").tobytes() for k in NAMES)
    part = path.with_suffix(".part")
    part.write_bytes(struct.pack("<Q", len(text)) + text + data)
    os.replace(part, path)


def restore(path):
    raw = path.read_bytes()
    (n,) = struct.unpack_from("<Q", raw)
    header = json.loads(raw[8 : 8 + n])
    header.pop("__metadata__", None)
    at = lambda t: raw[8 + n + t["data_offsets"][0] : 8 + n + t["data_offsets"][1]]
    return {k: np.frombuffer(at(t), "<f4").reshape(t["shape"]) for k, t in header.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="do not train; report on the weights that are there")
    path = HERE / "digits.safetensors"
    check = parser.parse_args().check
    images, labels = load()
    test = test_rows(labels)
    rest = np.setdiff1d(np.arange(len(labels)), test)
    if not check:
        save(path, train(images[rest], labels[rest]))
    p = restore(path)
    for name, q in [("dense", p), ("sparse", project(p))]:
        share = [float((q[k] != 0).mean()) for k in ("w1", "w2", "w3")]
        held = 100 * accuracy(q, images[test], labels[test])
        seen = 100 * accuracy(q, images[rest], labels[rest])
        print(f"{name:6}  test {held:.2f} %  train {seen:.2f} %  kept " + " ".join(f"{100 * s:.1f}%" for s in share))


if __name__ == "__main__":
    main()
