"""spc's training updates beside what a user of torch writes: eager, and torch.compile.

    PYTHONPATH=crates/spc-py/python python3 tests/bench/updates_torch.py [--threads N] [--pairs N] [--only WORDS]

Needs torch and numpy, and the package built with --release. All runs are one process; each pair times the two in turns, and a
row has the median ratio of the pairs and the best decile, so that it holds beside other programs; a copy of as many floats by torch is
timed in the same turns, and the share is the copy's time divided by spc's. What is timed on spc's
side is a call from Python that does more than torch's side does, never less:

* masks in place: `plan.project`, which leaves the greatest weights where they are and makes others 0. What it changed is
  restored, untimed, before each run;
* masks of a step: its second half with a straight-through mask: it keeps a copy of the weights, makes the mask, and writes the
  masked weights in place;
* proxes: the second half of a step, in place;
* MiniLM: a whole step of spc's SGD with the prox, which looks whether gradients are finite, too.
"""

import argparse
import sys
import time

import numpy as np
import torch

import spc

HEAD = """
use std.penalties.group_l2
use std.updates.sr_ste
axis B = 1..8
"""


def matrix(rows, cols):
    return f"""{HEAD}
model net {{ axes {{ I = {cols}, O = {rows} }} w: f32[O, I] }}
fn f(x: f32[B, I]) -> y: f32[B, O] {{ y[b, o] = net.w[o, i] * x[b, i] }}
"""


def clock(f):
    begin = time.perf_counter()
    f()
    return time.perf_counter() - begin


def pairs(name, ours, theirs, count, before=lambda: None, size=None):
    """All three are called in turns: ours, theirs, and torch's copy of `size` floats. `before` restores what ours changes and is not
    timed."""
    source = torch.zeros(size or 1 << 20)
    target = torch.zeros_like(source)
    before()
    ours()
    theirs()
    ratios, shares, mine, other, copies = [], [], [], [], []
    for _ in range(count):
        before()
        a = clock(ours)
        b = clock(theirs)
        c = clock(lambda: target.copy_(source))
        ratios.append(b / a)
        shares.append(c / a)
        mine.append(a)
        other.append(b)
        copies.append(c)
    r = sorted(ratios)
    copied = f"{np.median(copies) * 1e3:.2f} | {np.median(shares) * 100:.0f} %" if size else "| "
    print(
        f"| {name} | {np.median(mine) * 1e3:.2f} | {np.median(other) * 1e3:.2f} | {np.median(r):.1f} | {r[len(r) * 9 // 10]:.1f} | {copied} |",
        flush=True,
    )


class Half:
    """The second half of a step around another optimiser, on torch tensors; learning rate 1e-6."""

    def __init__(self, text, params, threads):
        plan = spc.compile(text=text, threads=threads)
        self.inner = plan._checked.update_plan({"name": "outside", "moments": 0}, 1 << 30, [])
        self.params, self.step = params, 0
        self.grads = {n: torch.zeros_like(p) for n, p in params.items()}
        self.mapped = {n: torch.zeros_like(p) for n, p in params.items() if self.inner.maps_gradient(n)}
        self.rates = dict.fromkeys(params, 1e-6)
        self.state = self.inner.start(params)

    def before(self):
        self.inner.before(self.step, self.params, self.grads, self.mapped, self.state)

    def after(self):
        self.inner.after(self.step, self.params, self.grads, [], self.rates, self.state)
        self.step += 1


class InPlace:
    """Projections of a weight without a run."""

    def __init__(self, text, w, threads):
        self.plan = spc.compile(text=text, threads=threads)
        self.first, self.params = w, {"net.w": w.clone()}

    def before(self):
        self.params["net.w"].copy_(self.first)

    def project(self):
        self.plan.project(self.params)


def two_of_four(w):
    g = w.abs().reshape(-1, 4)
    m = torch.zeros_like(g).scatter_(1, g.topk(2, dim=1).indices, 1.0)
    return w * m.reshape(w.shape)


def lasso_blocks(w, t):
    rows, cols = w.shape
    b = w.reshape(rows // 16, 16, cols // 16, 16)
    n = b.square().sum(dim=(1, 3), keepdim=True).sqrt()
    return (b * (1 - t / n.clamp_min(1e-12)).clamp_min(0)).reshape(rows, cols)


def lasso_rows(w, t):
    n = w.norm(dim=1, keepdim=True)
    return w * (1 - t / n.clamp_min(1e-12)).clamp_min(0)


def lasso_neurons(up, gate, down, t):
    n = (up.square().sum(1) + gate.square().sum(1) + down.square().sum(0)).sqrt()
    f = (1 - t / n.clamp_min(1e-12)).clamp_min(0)
    return up * f[:, None], gate * f[:, None], down * f[None, :]


def global_top(w):
    flat = w.abs().flatten()
    least = flat.kthvalue(flat.numel() - flat.numel() // 10 + 1).values
    return w * (w.abs() >= least)


def minilm(threads):
    """MiniLM's encoder matrices: six layers of four 384 x 384, 1536 x 384 and 384 x 1536."""
    shapes = [s for _ in range(6) for s in [(384, 384)] * 4 + [(1536, 384), (384, 1536)]]
    # A square matrix goes from D to E, which has the same size.
    axes = [("F" if r == 1536 else "E", "F" if c == 1536 else "D") for r, c in shapes]
    decl = " ".join(f"w{i}: f32[{r}, {c}]" for i, (r, c) in enumerate(axes))
    uses = "\n".join(
        f"fn f{i}(x: f32[B, {c}]) -> y: f32[B, {r}] {{ y[b, o] = net.w{i}[o, i] * x[b, i] }}"
        for i, (r, c) in enumerate(axes)
    )
    text = f"""{HEAD}
model net {{ axes {{ D = 384, E = 384, F = 1536 }} {decl} }}
{uses}
group row = tile(out: 1, in: all)
penalize p: 1e-3 * group_l2() of row
"""
    params = {f"net.w{i}": torch.randn(s) * 0.05 for i, s in enumerate(shapes)}
    grads = {n: torch.randn_like(p) * 1e-3 for n, p in params.items()}
    return text, params, grads


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--threads", type=int, default=1)
    a.add_argument("--pairs", type=int, default=31)
    a.add_argument("--only", default="")
    a.add_argument("--no-compile", action="store_true")
    o = a.parse_args()
    torch.set_num_threads(o.threads)
    torch.manual_seed(1)
    print(f"{o.threads} threads, torch {torch.__version__}\n")
    print("| operator | spc ms | torch ms | median ratio | best decile | copy ms | share of copy |\n| --- | --- | --- | --- | --- | --- | --- |")
    wanted = lambda name: o.only in name
    compiled = (lambda f: None) if o.no_compile else torch.compile
    with torch.no_grad():
        if wanted("2:4 mask"):
            w = torch.randn(4096, 4096)
            rule = "require r: keep 2 of 4 of elements per tile(in: 4) via sr_ste(lambda: 0)\n"
            p = InPlace(matrix(4096, 4096) + rule, w, o.threads)
            pairs("2:4 mask and apply, 4096 x 4096, in place, topk", p.project, lambda: two_of_four(w), o.pairs, p.before, w.numel())
            assert torch.equal(p.params["net.w"], two_of_four(w))
            h = Half(matrix(4096, 4096) + rule, {"net.w": w.clone()}, o.threads)
            pairs("2:4 mask and apply, 4096 x 4096, in a step, topk", h.after, lambda: two_of_four(w), o.pairs, h.before, w.numel())
        if wanted("top"):
            w = torch.randn(4096, 5632)
            rule = "require r: keep 10% of elements per tensor via sr_ste(lambda: 0)\n"
            p = InPlace(matrix(4096, 5632) + rule, w, o.threads)
            pairs("greatest 10 % of 22 Mi, in place, kthvalue", p.project, lambda: global_top(w), o.pairs, p.before, w.numel())
            h = Half(matrix(4096, 5632) + rule, {"net.w": w.clone()}, o.threads)
            pairs("greatest 10 % of 22 Mi, in a step, kthvalue", h.after, lambda: global_top(w), o.pairs, h.before, w.numel())
        for name, group, theirs in [
            ("group lasso, 16 x 16 tiles", "tile(out: 16, in: 16)", lasso_blocks),
            ("group lasso, rows", "tile(out: 1, in: all)", lasso_rows),
        ]:
            if not wanted(name):
                continue
            w = torch.randn(4096, 4096)
            h = Half(matrix(4096, 4096) + f"group g = {group}\npenalize p: 1 * group_l2() of g\n", {"net.w": w.clone()}, o.threads)
            pairs(f"{name}, eager", h.after, lambda: theirs(w, 1e-6), o.pairs, h.before, w.numel())
            fast = compiled(theirs)
            if fast is not None:
                h.before()
                h.after()
                pairs(f"{name}, torch.compile", h.after, lambda: fast(w, 1e-6), o.pairs, h.before, w.numel())
        if wanted("neurons"):
            text = f"""{HEAD}
use std.nn
model net {{ axes {{ D = 2048, F = 2048, O = 2048 }}  up: f32[F, D]  gate: f32[F, D]  down: f32[O, F] }}
fn f(x: f32[B, D]) -> y: f32[B, O] {{
  u[b, f] = net.up[f, d] * x[b, d]
  v[b, f] = net.gate[f, d] * x[b, d]
  h = u * v
  y[b, o] = net.down[o, f] * h[b, f]
}}
group neuron = slices(F) of net
penalize p: 1 * group_l2() of neuron
"""
            p = {f"net.{n}": torch.randn(2048, 2048) for n in ("up", "gate", "down")}
            q = [v.clone() for v in p.values()]
            h = Half(text, p, o.threads)
            pairs("group lasso, neurons of three 2048 x 2048, eager", h.after, lambda: lasso_neurons(*q, 1e-6), o.pairs, h.before, 3 * q[0].numel())
            fast = compiled(lasso_neurons)
            if fast is not None:
                pairs("group lasso, neurons, torch.compile", h.after, lambda: fast(*q, 1e-6), o.pairs, h.before, 3 * q[0].numel())
        if wanted("MiniLM"):
            text, params, grads = minilm(o.threads)
            plan = spc.compile(text=text, threads=o.threads)
            opt = plan.optimizer(params, "sgd", lr=1e-3, steps=1 << 30)
            bare = spc.compile(text=text.replace("penalize", "// penalize"), threads=o.threads)
            other = {n: p.clone() for n, p in params.items()}
            plain = bare.optimizer(other, "sgd", lr=1e-3, steps=1 << 30)
            mine = [torch.nn.Parameter(p.clone()) for p in params.values()]
            for p, g in zip(mine, grads.values()):
                p.grad = g.clone()
            sgd = torch.optim.SGD(mine, lr=1e-3)
            pairs("36 matrices of MiniLM: SGD with the prox, beside torch's SGD", lambda: opt.step(grads), sgd.step, o.pairs)
            pairs("36 matrices of MiniLM: SGD with the prox, beside spc's SGD", lambda: opt.step(grads), lambda: plain.step(grads), o.pairs)
            def eager():
                sgd.step()
                for p in mine:
                    p.copy_(lasso_rows(p, 1e-6))
            pairs("36 matrices of MiniLM: SGD with the prox, beside both in torch", lambda: opt.step(grads), eager, o.pairs)


if __name__ == "__main__":
    sys.exit(main())
