"""Times of the same products in PyTorch, over four copies of each weight in turn: dense bf16 (cuBLAS), 2:4 through
to_sparse_semi_structured in a CUDA graph and as written, int4 through _weight_int4pack_mm, blocks of 64 x 64 through the Triton
kernel of BSR tensors; and a copy. `peers.py TOKENS O K S` takes other numbers of tokens (1,16,..), sizes of the weight, and of
what is copied. SPC_PEERS=dense,sparse,eager,int4,bsr,copy are some of the peers, in processes of their own where one may leave the
device unusable. A peer that this PyTorch does not have, or that fails, is named with the reason."""
import os
import sys

import torch
import torch.nn.functional as F

COPIES = 4


def micros(call, rounds):
    for _ in range(3):
        call()
    torch.cuda.synchronize()
    times = []
    for _ in range(rounds):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        call()
        end.record()
        times.append((start, end))
    torch.cuda.synchronize()
    return sorted(a.elapsed_time(b) for a, b in times)[rounds // 2] * 1e3 / COPIES


def graphed(call):
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


def report(name, number, make, unit="tokens"):
    try:
        us = micros(make(), 20 if number > 64 else 100)
        print(f"torch {name:<24} {number:>5} {unit:<6} {us:>9.1f} us", flush=True)
    except Exception as e:  # a peer that cannot do a shape is left out, with the reason
        first = (str(e).splitlines() or [type(e).__name__])[0]
        print(f"torch {name:<24} {number:>5} {unit}: {first}", flush=True)


def pruned(w):
    groups = w.view(-1, 4)
    keep = torch.zeros_like(groups, dtype=torch.bool).scatter_(1, groups.abs().topk(2, dim=1).indices, True)
    return (groups * keep).view_as(w)


def blocks(w, size, kept):
    """BSR of which a share of the blocks is kept."""
    rows, columns = w.shape[0] // size, w.shape[1] // size
    mask = torch.rand(rows, columns, device=w.device) < kept
    return (w * mask.repeat_interleave(size, 0).repeat_interleave(size, 1)).to_sparse_bsr((size, size))


def int4(w, group=32):
    """Codes of 4 bits, a scale and a zero for each group, as _weight_int4pack_mm takes them."""
    codes = torch.randint(0, 16, w.shape, device=w.device, dtype=torch.int32)
    packed = torch._convert_weight_to_int4pack((codes[:, ::2] << 4 | codes[:, 1::2]).to(torch.uint8), 8)
    scales = torch.ones(w.shape[1] // group, w.shape[0], 2, device=w.device, dtype=torch.bfloat16)
    return packed, scales, group


KINDS = ["dense", "sparse", "eager", "int4", "bsr", "copy"]


def main(kinds, tokens, outputs, inputs, size):
    torch.manual_seed(1)
    if kinds != ["copy"]:
        products(kinds, tokens, outputs, inputs)
    if "copy" in kinds:
        report("copy f32, graph", size, lambda: graphed(copies(size)), "rows")


def copies(size):
    pairs = [(torch.randn(size, size, device="cuda"), torch.empty(size, size, device="cuda")) for _ in range(COPIES)]
    return lambda: [to.copy_(of) for of, to in pairs]


def products(kinds, tokens, outputs, inputs):
    dense = [torch.randn(outputs, inputs, device="cuda", dtype=torch.bfloat16) for _ in range(COPIES)]
    made = {}

    def weights(kind, make):
        if kind not in made:
            made[kind] = [make(w) for w in dense]
        return made[kind]

    for n in tokens:
        x = torch.randn(n, inputs, device="cuda", dtype=torch.bfloat16)

        def sparse():
            return weights("2:4", lambda w: torch.sparse.to_sparse_semi_structured(pruned(w)))

        def all_int4():
            return lambda ws=weights("int4", int4): [torch._weight_int4pack_mm(x, p, g, s) for p, s, g in ws]

        def all_blocks():
            from torch.sparse._triton_ops import bsr_dense_mm

            turned = x.t().contiguous()
            return lambda ws=weights("bsr", lambda w: blocks(w, 64, 0.25)): [bsr_dense_mm(w, turned) for w in ws]

        if "dense" in kinds:
            report("dense bf16, graph", n, lambda: graphed(lambda: [F.linear(x, w) for w in dense]))
        if "sparse" in kinds:
            report("2:4, graph", n, lambda: graphed(lambda ws=sparse(): [F.linear(x, w) for w in ws]))
        if "eager" in kinds:
            report("2:4, eager", n, lambda: lambda ws=sparse(): [F.linear(x, w) for w in ws])
        if "int4" in kinds and n <= 64:
            report("int4, graph", n, lambda: graphed(all_int4()))
        if "bsr" in kinds and n > 64:
            report("BSR 64, graph", n, lambda: graphed(all_blocks()))


def arguments(given):
    """Kinds, numbers of tokens, and three sizes; what is not given is the usual."""
    usual = ["1,16,64,1024,8192", "14336", "4096", "8192"]
    if len(given) > len(usual):
        raise ValueError("too many arguments")
    given = given + usual[len(given):]
    kinds = [k for k in os.environ.get("SPC_PEERS", "").split(",") if k] or KINDS
    if any(k not in KINDS for k in kinds):
        raise ValueError(f"peers are {', '.join(KINDS)}")
    tokens, sizes = [int(n) for n in given[0].split(",")], [int(n) for n in given[1:]]
    if min(tokens + sizes) < 1:
        raise ValueError("sizes are at least 1")
    return kinds, tokens, *sizes


if __name__ == "__main__":
    try:
        chosen = arguments(sys.argv[1:])
    except ValueError as e:
        sys.exit(f"peers.py [TOKENS [O [K [S]]]]: {e}")
    with torch.inference_mode():
        main(*chosen)
