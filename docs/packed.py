"""The tensors of a packed file of spc as dense arrays, in numpy: python3 packed.py FILE [NAME.npy ..]"""
import json, re, sys
import numpy as np

KINDS = {"F32": "<f4", "F16": "<f2", "U32": "<u4", "I32": "<i4", "I64": "<i8", "U8": "u1", "I8": "i1", "BOOL": "?"}

def load(path):
    raw = open(path, "rb").read()
    start = 8 + int.from_bytes(raw[:8], "little")
    head = json.loads(raw[8:start])
    lists = json.loads(head.pop("__metadata__", {}).get("layouts", "[]"))
    places = {n: [start + x for x in t["data_offsets"]] for n, t in head.items() if t["dtype"] in KINDS}
    found = {n: np.frombuffer(raw[a:b], KINDS[head[n]["dtype"]]).reshape(head[n]["shape"]) for n, (a, b) in places.items()}
    return found | {w["weight"]: unpack(w, lambda name: found[w["prefix"] + "." + name]) for w in lists}

def unpack(w, array):
    (kind, *p), rows, cols = re.findall(r"\w+", w["layout"]), w["rows"], w["cols"]
    p = [int(x) for x in p]
    if kind == "dense":
        panels = array("values").reshape(-(-rows // p[0]), cols, p[0]).swapaxes(1, 2)
        return panels.reshape(len(panels) * p[0], cols)[:rows]
    if kind == "nm":
        shape = (rows, -(-cols // p[1]), p[0])
        out, at = np.zeros((*shape[:2], p[1]), "f4"), np.indices(shape)
        np.add.at(out, (at[0], at[1], array("idx").reshape(shape)), array("values").reshape(shape))
        return out.reshape(rows, shape[1] * p[1])[:, :cols]
    r, c = {"csr": (1, 1), "vx1": (*p, 1), "bsr": p, "i8": (*p, 4)}[kind]
    ptr, idx = array("ptr").astype(int), array("idx").astype(int)[:, None, None]
    row = (np.repeat(np.arange(len(ptr) - 1), np.diff(ptr)) * r)[:, None, None] + np.arange(r)[:, None]
    if kind == "i8":
        idx, values = idx * 4, array("codes").view("i1").reshape(len(idx), r, c) * array("scale")[row]
    else:
        values = array("values").reshape(len(idx), c, r).swapaxes(1, 2)
    out = np.zeros(((len(ptr) - 1) * r, cols + c), "f4")
    np.add.at(out, (row, idx + np.arange(c)), values)
    return out[:rows, :cols]

if __name__ == "__main__":
    tensors = load(sys.argv[1])
    for file in sys.argv[2:]:
        np.save(file, tensors[file.split("/")[-1].removesuffix(".npy")])
    for name, t in sorted(tensors.items()):
        print(name, t.dtype, *t.shape, (t != 0).sum(), "present")
