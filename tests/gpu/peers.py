"""Times of the same products in PyTorch: dense bf16 (cuBLAS), and 2:4 through to_sparse_semi_structured, both in a CUDA graph,
and the latter also as written. Four copies of each weight are used in turn."""
import torch
import torch.nn.functional as F

OUTPUTS, INPUTS, COPIES = 14336, 4096, 4


def micros(call, rounds):
    for _ in range(3):
        call()
    torch.cuda.synchronize()
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    for _ in range(rounds):
        call()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) * 1e3 / rounds / COPIES


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


def report(name, tokens, call):
    try:
        us = micros(call, 20 if tokens > 64 else 100)
        print(f"torch {name:<24} {tokens:>5} tokens {us:>9.1f} us", flush=True)
    except Exception as e:  # a peer that cannot do a shape is left out, with the reason
        print(f"torch {name:<24} {tokens:>5} tokens: {str(e).splitlines()[0]}", flush=True)


def main():
    torch.manual_seed(1)
    dense = [torch.randn(OUTPUTS, INPUTS, device="cuda", dtype=torch.bfloat16) for _ in range(COPIES)]
    sparse = []
    for w in dense:
        groups = w.view(-1, 4)
        keep = torch.zeros_like(groups, dtype=torch.bool).scatter_(1, groups.abs().topk(2, dim=1).indices, True)
        pruned = (groups * keep).view(OUTPUTS, INPUTS)
        sparse.append(torch.sparse.to_sparse_semi_structured(pruned))
    for tokens in (1, 16, 64, 1024, 8192):
        x = torch.randn(tokens, INPUTS, device="cuda", dtype=torch.bfloat16)

        def all_of(weights):
            return lambda: [F.linear(x, w) for w in weights]

        for name, weights in (("dense bf16", dense), ("2:4", sparse)):
            try:
                report(name + ", graph", tokens, graphed(all_of(weights)))
            except Exception as e:
                print(f"torch {name + ', graph':<24} {tokens:>5} tokens: {str(e).splitlines()[0]}", flush=True)
        report("2:4, eager", tokens, all_of(sparse))


if __name__ == "__main__":
    with torch.inference_mode():
        main()
