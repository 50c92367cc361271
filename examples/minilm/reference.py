"""Writes reference.json: embeddings of a few texts, computed by numpy alone from the weight file.

An independent implementation of what minilm.sp declares, in double precision: BERT (Devlin et al. 2018), the mean of the
real tokens' last states, unit length. Needs numpy, the `tokenizers` package and the files that get.sh fetches.

    python3 reference.py
"""

import json
import math
import struct
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

HERE = Path(__file__).resolve().parent
LENGTH, HEADS, LAYERS, EPS = 128, 12, 6, 1e-12
TEXTS = [
    "This is an example sentence",
    "Each sentence is converted to a vector, and similar sentences (should) get similar vectors.",
    "Naïve café: 42 unbelievably-tokenised wordpieces!",
    "The quick brown fox jumps over the lazy dog. " * 16,
]


def weights():
    raw = (HERE / "model.safetensors").read_bytes()
    (n,) = struct.unpack_from("<Q", raw)
    header = json.loads(raw[8 : 8 + n])
    out = {}
    for name, t in header.items():
        if name != "__metadata__" and t["dtype"] == "F32":
            start, end = t["data_offsets"]
            out[name] = np.frombuffer(raw[8 + n + start : 8 + n + end], "<f4").reshape(t["shape"]).astype(np.float64)
    return out


def tokens():
    """Ids and mask [texts, LENGTH]; padding and truncation are set here, not taken from the file."""
    tokenizer = Tokenizer.from_file(str(HERE / "tokenizer.json"))
    tokenizer.enable_truncation(LENGTH)
    tokenizer.enable_padding(length=LENGTH, pad_id=0, pad_token="[PAD]")
    encoded = tokenizer.encode_batch(TEXTS)
    return np.array([e.ids for e in encoded]), np.array([e.attention_mask for e in encoded])


erf = np.vectorize(math.erf, otypes=[np.float64])


def norm(x, w, name):
    mean = x.mean(axis=-1, keepdims=True)
    var = ((x - mean) ** 2).mean(axis=-1, keepdims=True)
    return (x - mean) / np.sqrt(var + EPS) * w[name + ".weight"] + w[name + ".bias"]


def linear(x, w, name):
    return x @ w[name + ".weight"].T + w[name + ".bias"]


def embed(w, ids, real):
    texts, length = ids.shape
    x = w["embeddings.word_embeddings.weight"][ids]
    x = x + w["embeddings.position_embeddings.weight"][:length] + w["embeddings.token_type_embeddings.weight"][0]
    x = norm(x, w, "embeddings.LayerNorm")
    closed = np.where(real[:, None, None, :] == 1, 0.0, -np.inf)

    def heads(y):
        return y.reshape(texts, length, HEADS, -1).transpose(0, 2, 1, 3)

    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}."
        q, k, v = (heads(linear(x, w, at + "attention.self." + n)) for n in ("query", "key", "value"))
        scores = q @ k.transpose(0, 1, 3, 2) / math.sqrt(q.shape[-1]) + closed
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = scores / scores.sum(axis=-1, keepdims=True) @ v
        mixed = mixed.transpose(0, 2, 1, 3).reshape(x.shape)
        x = norm(x + linear(mixed, w, at + "attention.output.dense"), w, at + "attention.output.LayerNorm")
        h = linear(x, w, at + "intermediate.dense")
        h = 0.5 * h * (1 + erf(h / math.sqrt(2)))
        x = norm(x + linear(h, w, at + "output.dense"), w, at + "output.LayerNorm")
    pooled = (x * real[:, :, None]).sum(axis=1) / real.sum(axis=1, keepdims=True)
    return pooled / np.sqrt((pooled**2).sum(axis=1, keepdims=True))


def main():
    ids, real = tokens()
    sentences = embed(weights(), ids, real)
    print("tokens", real.sum(axis=1), "pairwise cosine", *np.round(sentences @ sentences.T, 4), sep="\n")
    rounded = [[float(f"{v:.8g}") for v in row] for row in sentences]
    rows = [("length", LENGTH), ("texts", TEXTS), ("ids", ids.tolist()), ("real", real.tolist()), ("sentence", rounded)]
    lines = []
    for name, value in rows:
        if name in ("ids", "real", "sentence"):
            inner = ",\n  ".join(json.dumps(row, separators=(",", ":")) for row in value)
            lines.append(f' "{name}": [\n  {inner}\n ]')
        else:
            lines.append(f" {json.dumps(name)}: {json.dumps(value)}")
    (HERE / "reference.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
