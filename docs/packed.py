"""The tensors of a packed file of spc as dense arrays, in numpy: python3 packed.py FILE [NAME.npy ..]
Of a compiled folder also the weights that its plan stores as others: python3 packed.py FOLDER [NAME.npy ..]"""
import json, os, re, sys
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

def both(values):  # of words the two bf16 numbers; numbers are there already
    words = values if values.dtype == "f4" else np.stack([values << np.uint32(16), values >> np.uint32(16) << np.uint32(16)], -1)
    return np.ascontiguousarray(words).view("f4")

def unpack(w, array):
    (kind, *p), rows, cols = re.findall(r"\w+", w["layout"]), w["rows"], w["cols"]
    p = [int(x) for x in p]
    if kind.endswith("f16"):
        kind, _, form = kind.partition("_")
        words = array("values").view("<u2")
        wide = words.view("<f2").astype("f4") if form == "f16" else (words.astype("<u4") << 16).view("<f4")
        return unpack(w | {"layout": kind + str(tuple(p))}, lambda name: wide if name == "values" else array(name))
    if kind == "dense":
        panels = array("values").reshape(-(-rows // p[0]), cols, p[0]).swapaxes(1, 2)
        return panels.reshape(len(panels) * p[0], cols)[:rows]
    if kind == "nm":
        shape = (rows, -(-cols // p[1]), p[0])
        out, at = np.zeros((*shape[:2], p[1]), "f4"), np.indices(shape)
        np.add.at(out, (at[0], at[1], array("idx").reshape(shape)), array("values").reshape(shape))
        return out.reshape(rows, shape[1] * p[1])[:, :cols]
    if kind == "nm16":
        bits, (n, m), groups = 2 if p[1] <= 4 else 4, p, -(-cols // p[1])
        per = max(32 // bits // n, 1)
        words, blocks = -(-n * bits // 32), -(-rows // 16)
        idx = array("idx").reshape(blocks, -(-groups // per), words, 1, 16) >> (np.arange(32 // bits, dtype="u4") * bits)[:, None]
        idx = (idx % 2 ** bits).reshape(blocks, -(-groups // per), words * 32 // bits, 16)[:, :, :per * n]
        idx = idx.reshape(blocks, -(-groups // per) * per, n, 16)[:, :groups].transpose(0, 3, 1, 2)
        values = array("values").reshape(blocks, groups, n, 16).transpose(0, 3, 1, 2)
        out, at = np.zeros((blocks, 16, groups, m), "f4"), np.indices(idx.shape)
        np.add.at(out, (at[0], at[1], at[2], idx), values)
        return out.reshape(blocks * 16, groups * m)[:rows, :cols]
    if kind == "bitmap":  # a bit for each of sixteen rows, column by column
        bits = array("mask").view("<u2").reshape(-(-rows // 16), cols, 1) >> np.arange(16, dtype="u2") & np.uint16(1)
        out = np.zeros(bits.shape, "f4")
        out[bits > 0] = array("values")[:-16]
        return out.swapaxes(1, 2).reshape(len(out) * 16, cols)[:rows]
    if kind == "vnm16":
        (v, m), blocks, groups, windows = p, -(-rows // p[0]) * p[0] // 16, -(-cols // p[1]), -(-(-(-cols // p[1])) // 4)
        at = array("pick").view("<u2").reshape(blocks, windows, 1, 16) >> (np.arange(8, dtype="u2") * np.uint16(2))[:, None] & np.uint16(3)
        at = at.reshape(blocks, windows * 4, 2, 16)[:, :groups].astype(int)
        columns = array("idx").view("<u2").reshape(-(-rows // v), windows * 4, 4)[:, :groups].repeat(v // 16, 0)
        block, group, _, lane = np.indices(at.shape)
        out = np.zeros((blocks * 16, max(cols, 1)), "f4")
        np.add.at(out, (block * 16 + lane, columns[block, group, at]), array("values").reshape(at.shape))
        return out[:rows, :cols]
    if kind in ("i8nm", "i4nm", "i8csr"):  # steps of four codes of sixteen rows
        code, block = array("codes").view("i1").reshape(-1, 1, 16, 4), -(-rows // 16)
        if kind != "i8csr":
            n, m, bits, unit = *p[:2], 2 if p[1] <= 4 else 4, next(g for g in (1, 2, 4) if g * p[0] % 4 == 0)
            unit = p[2] // m if kind == "i4nm" else unit
            steps = -(-cols // (m * unit)) * unit * n // 4
            if kind == "i4nm":  # of two steps the halves of bytes
                two = code.view("u1").reshape(block, -1, 1, 16, 4)
                code = np.concatenate([(two << 4).view("i1") >> 4, two.view("i1") >> 4], 2)
                code = code.reshape(block, -1, 16, 4)[:, :steps].reshape(-1, 1, 16, 4)
            at = array("idx").view("u1").reshape(block, -1, 1, 16, 4) >> (np.arange(8 // bits, dtype="u1") * bits)[:, None, None]
            at = (at % 2 ** bits).reshape(block, -1, 16, 4)[:, :steps]
            col = (np.arange(steps)[:, None, None] * 4 + np.arange(4)) // n * m + at
            block, col = np.arange(block).repeat(steps), col.reshape(code.shape)
        else:
            code = code.reshape(-1, p[0] // 4, 16, 4)
            block = np.arange(block).repeat(np.diff(array("ptr").astype(int)))
            col = array("idx").astype(int)[:, None, None, None] + array("places").reshape(code.shape)
        row = block[:, None, None, None] * 16 + np.arange(16)[:, None]
        out = np.zeros((-(-rows // 16) * 16, cols + 64), "f4")
        scale = array("scale")[row] if kind != "i4nm" else (array("scale").view("<f2") if p[3] == 16 else array("scale")).astype("f4")
        if kind == "i4nm":
            scale = scale.reshape(-(-rows // 16), -1, 16)[row // 16, col // p[2], row % 16]
        np.add.at(out, np.broadcast_arrays(row, col), code * scale)
        return out[:rows, :cols]
    if kind in ("mma24", "vnm"):
        v, m = p or (32, 4)
        b, t = -(-rows // v) * v // 32, -(-(-(-cols // m)) // 8)
        pair = both(array("values")).reshape(b, t, 2, 8, 4, 2, 2, 2)  # half, g, t, column, low
        code = array("meta").reshape(b, t, 8, 2, 2, 1, 1) >> (np.arange(2, dtype="u4")[:, None] * 16 + np.arange(4, dtype="u4") * 4)
        code = code.transpose(0, 1, 3, 2, 6, 4, 5)  # g, half, column, low, t as above
        out = np.zeros((b, t, 2, 8, 4, 2, 2, 4), "f4")
        for i in range(2):
            np.add.at(out, (*np.indices(pair.shape[:-1]), code >> np.uint32(2 * i) & np.uint32(3)), pair[..., i])
        out = out.transpose(0, 2, 6, 3, 1, 5, 4, 7).reshape(b * 32, t * 32)
        if kind == "vnm":  # the columns that rows share; K is none
            chosen, idx = out, array("idx").reshape(b * 32 // v, 1, t * 32).repeat(v, 1).reshape(b * 32, t * 32)
            out = np.zeros((b * 32, cols + 1), "f4")
            np.add.at(out, (np.arange(b * 32)[:, None], idx), chosen)
        return out[:rows, :cols]
    if kind[0] in "qk" and kind[-1] in "48":
        bits, g, per = int(kind[-1]), p[0], 2 if kind[-1] == "4" and p[0] == 16 else 1
        size = per * g * bits // 8
        code = array("codes").reshape(-1, size)
        scale = (array("scale").view("<f2") if p[1] == 16 else array("scale")).astype("f4").reshape(-1, 1)
        code = code.view("i1") if bits == 8 else np.stack([(code << 4).view("i1") >> 4, code.view("i1") >> 4], 1)
        if bits == 4 and per == 1:  # runs of 16 bytes: first the low halves, then the high ones
            code = code.reshape(-1, 2, size // 16, 16).swapaxes(1, 2)
        values = code.reshape(-1, g) * scale
        skip = array("skip").astype(int) if kind[0] == "k" else np.zeros(len(values), int)
        ends = array("ptr").astype(int) * per if kind[0] == "k" else np.arange(rows + 1) * (len(values) // max(rows, 1))
        out = np.zeros((rows, -(-cols // g) + 257, g), "f4")
        for row in range(rows):
            part = slice(ends[row], ends[row + 1])
            out[row, np.cumsum(skip[part] + 1) - 1] = values[part]
        return out.reshape(rows, -1)[:, :cols]
    r, c = {"csr": (1, 1), "csr16": (1, 1), "vx1": (*p, 1), "bsr": p, "i8": (*p, 4), "mma32": (*p, 32), "mma1": (*p, 32)}[kind]
    idx = array("idx").view("<u2") if kind == "csr16" else array("idx")
    ptr, idx = array("ptr").astype(int), idx.astype(int).reshape(-1, 1, 32 if kind == "mma1" else 1)
    row = (np.repeat(np.arange(len(ptr) - 1), np.diff(ptr)) * r)[:, None, None] + np.arange(r)[:, None]
    if kind == "i8":
        idx, values = idx * 4, array("codes").view("i1").reshape(len(idx), r, c) * array("scale")[row]
    elif kind in ("mma32", "mma1"):
        halves = both(array("values")).reshape(len(idx), r // 16, 2, 8, 4, 2, 2, 2)  # 16 rows, 16 columns, g, t, 8 columns, 8 rows
        idx, values = idx * (32 if kind == "mma32" else 1), halves.transpose(0, 1, 6, 3, 2, 5, 4, 7).reshape(len(idx), r, c)
    else:
        values = array("values").reshape(len(idx), c, r).swapaxes(1, 2)
    out = np.zeros(((len(ptr) - 1) * r, cols + c), "f4")
    np.add.at(out, (row, idx if kind == "mma1" else idx + np.arange(c)), values)
    return out[:rows, :cols]

def folder(path):
    """What a compiled folder stores, and the weights that lie in it in parts or in another order, as the program has them."""
    file = os.path.join(path, "weights.safetensors")
    found = load(file)
    with open(os.path.join(path, "plan.json")) as plan, open(file, "rb") as f:
        plan, head = json.load(plan), json.loads(f.read(int.from_bytes(f.read(8), "little")))
    for one in plan["functions"]:
        there = set(found)
        for step in reversed(one.get("structure", [])):
            if step["made"] not in found or step["from"][0] in there:
                continue
            (how, what), made = next(iter(step.get("how", {"below": None}).items())), found[step["made"]]
            if how == "split" and what["structured"]:  # the rest stands after it: each element is in one of the two
                found[step["from"][0]] = found[step["from"][0]] + made
            elif how == "split":
                found[step["from"][0]] = made
            elif how == "reorder":
                found[step["from"][0]] = turned_back(made, what["moves"])
            elif how == "below":
                found |= zip(step["from"], np.split(made, np.cumsum(step["rows"])[:-1].astype(int)))
    for name, r in json.loads(head["__metadata__"].get("removed", "{}")).items():
        if name in found:  # zeros where positions were left out
            whole = np.zeros(r["shape"], "f4")
            whole[np.ix_(*(range(n) if k is None else k for n, k in zip(r["shape"], r["kept"])))] = found[name]
            found[name] = whole
    return found

def turned_back(w, moves):
    for m in reversed(moves):
        runs = [(int(a), int(b or a)) for a, _, b in (run.partition("-") for run in m["order"].split())]
        order = np.concatenate([np.arange(a, b + 1) for a, b in runs])
        for p in m["places"]:
            i = np.arange(p["start"], p["end"]) - p["start"]
            turn, place = np.divmod(i // p["inner"], len(order))
            came = np.arange(w.shape[p["dim"]])  # position i of the dimension holds what stood at came[i]
            came[p["start"]:p["end"]] = p["start"] + (turn * len(order) + order[place]) * p["inner"] + i % p["inner"]
            w = np.take(w, np.argsort(came), p["dim"])
    return w

if __name__ == "__main__":
    tensors = folder(sys.argv[1]) if os.path.isdir(sys.argv[1]) else load(sys.argv[1])
    for file in sys.argv[2:]:
        np.save(file, tensors[file.split("/")[-1].removesuffix(".npy")])
    for name, t in sorted(tensors.items()):
        print(name, t.dtype, *t.shape, (t != 0).sum(), "present")
