"""Plans beside torch: hooks around an optimiser against the published rule by autograd. Skipped where torch is not there."""

import copy
import os
import tempfile
import unittest

import numpy as np

import spc

try:
    import torch
except ImportError:
    torch = None

TEXT = """
use std.nn
use std.updates.{sr_ste, adams}
axis B = 1..64
model net { axes { I = 16, O = 8 }  weight: f32[O, I]  bias: f32[O] }
fn predict(x: f32[B, I]) -> y: f32[B, O] { y = nn.linear(x, net.weight, net.bias) }
require half: keep 2 of 4 of elements per tile(in: 4) on net.weight via sr_ste()
"""
LAMBDA = 2e-4


def data():
    g = torch.Generator().manual_seed(5)
    x = torch.randn(64, 16, generator=g)
    return x, x @ torch.randn(16, 8, generator=g)


def mask(w):
    order = torch.argsort(w.detach().abs().reshape(-1, 4), dim=1, descending=True, stable=True)
    m = torch.zeros(order.shape, dtype=torch.bool)
    return m.scatter_(1, order[:, :2], True).reshape(w.shape)


def autograd_run(model, steps, accumulate):
    """SR-STE (Zhou et al. 2021) with a parameter of dense weights and a straight-through mask."""
    x, y = data()
    opt = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.01)
    w = model.weight
    for _ in range(steps):
        opt.zero_grad()
        for part in range(accumulate):
            m = mask(w)
            seen = w + (w * m - w).detach()
            out = torch.nn.functional.linear(x[part::accumulate], seen, model.bias)
            ((out - y[part::accumulate]) ** 2).mean().div(accumulate).backward()
        w.grad += LAMBDA * ~mask(w) * w.detach()
        opt.step()
    return w.detach() * mask(w), model.bias.detach()


def hooked_run(model, opt, steps, accumulate):
    x, y = data()
    for _ in range(steps):
        opt.zero_grad()
        for part in range(accumulate):
            ((model(x[part::accumulate]) - y[part::accumulate]) ** 2).mean().div(accumulate).backward()
        opt.step()


def optimiser(model):
    return torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.01)


@unittest.skipIf(torch is None, "torch is not installed")
class Hooks(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(3)
        self.model = torch.nn.Linear(16, 8)

    def test_the_hooks_give_the_published_rule(self):
        for accumulate in (1, 2):
            by_hand, model = copy.deepcopy(self.model), copy.deepcopy(self.model)
            want_w, want_b = autograd_run(by_hand, 50, accumulate)
            plan = spc.compile(text=TEXT, bind=model)
            opt = optimiser(model)
            plan.attach(opt, steps=50)
            hooked_run(model, opt, 50, accumulate)
            torch.testing.assert_close(model.weight.detach(), want_w, atol=2e-5, rtol=0)
            torch.testing.assert_close(model.bias.detach(), want_b, atol=2e-5, rtol=0)
            self.assertEqual(int((model.weight != 0).sum()), 64)
            self.assertEqual([n for n, _ in model.named_parameters()], ["weight", "bias"])

    def test_the_parameter_holds_what_the_program_reads(self):
        plan = spc.compile(text=TEXT, bind=self.model)
        opt = optimiser(self.model)
        plan.attach(opt, steps=5)
        pointer, version = self.model.weight.data_ptr(), self.model.weight._version
        for _ in range(5):
            self.assertTrue(((self.model.weight.reshape(-1, 4) != 0).sum(dim=1) <= 2).all())
            hooked_run(self.model, opt, 1, 1)
        self.assertEqual(self.model.weight.data_ptr(), pointer)
        self.assertGreater(self.model.weight._version, version)
        self.assertEqual(plan.report()["density"]["net.weight"], 0.5)

    def test_a_run_goes_on_bit_for_bit(self):
        whole, first = copy.deepcopy(self.model), copy.deepcopy(self.model)
        opt = optimiser(whole)
        spc.compile(text=TEXT, bind=whole).attach(opt, steps=20)
        hooked_run(whole, opt, 20, 1)
        plan, opt = spc.compile(text=TEXT, bind=first), optimiser(first)
        plan.attach(opt, steps=20)
        hooked_run(first, opt, 7, 1)
        stored = copy.deepcopy((first.state_dict(), opt.state_dict(), plan.state_dict()))
        second = torch.nn.Linear(16, 8)
        plan, opt = spc.compile(text=TEXT, bind=second), optimiser(second)
        plan.attach(opt, steps=20)
        second.load_state_dict(stored[0])
        opt.load_state_dict(stored[1])
        plan.load_state_dict(stored[2])
        hooked_run(second, opt, 13, 1)
        self.assertTrue(torch.equal(second.weight, whole.weight))
        self.assertTrue(torch.equal(second.bias, whole.bias))

    def test_autograd_notices_a_change(self):
        plan, opt = spc.compile(text=TEXT, bind=self.model), optimiser(self.model)
        plan.attach(opt, steps=2)
        x, _ = data()
        x.requires_grad_(True)
        loss = self.model(x).sum()
        hooked_run(self.model, opt, 1, 1)
        with self.assertRaisesRegex(RuntimeError, "modified by an inplace operation"):
            loss.backward()

    def test_own_optimiser_on_a_module(self):
        x, y = data()
        other = copy.deepcopy(self.model)
        plan = spc.compile(text=TEXT, bind=self.model)
        opt = plan.optimizer(name="adamw", lr=0.01, steps=50, weight_decay=0.01)
        beside = optimiser(other)
        spc.compile(text=TEXT, bind=other).attach(beside, steps=50)
        for _ in range(50):
            opt.zero_grad()
            ((self.model(x) - y) ** 2).mean().backward()
            opt.step()
        hooked_run(other, beside, 50, 1)
        torch.testing.assert_close(self.model.weight, other.weight, atol=1e-5, rtol=0)

    def test_refusals(self):
        plan = spc.compile(text=TEXT, bind=self.model)
        with self.assertRaisesRegex(ValueError, "moments="):
            plan.attach(torch.optim.Rprop(self.model.parameters()), steps=2)
        with self.assertRaisesRegex(ValueError, "does not hold"):
            plan.attach(optimiser(torch.nn.Linear(2, 2)), steps=2)
        own = TEXT.replace("via sr_ste()", "via adams()")
        with self.assertRaises(spc.Error) as e:
            spc.compile(text=own, bind=self.model).attach(optimiser(self.model), steps=2)
        self.assertEqual(e.exception.codes, ["SP0006"])
        groups = [{"params": [self.model.weight]}, {"params": [self.model.bias], "betas": (0.9, 0.5)}]
        with self.assertRaisesRegex(ValueError, "several beta2"):
            plan.attach(torch.optim.AdamW(groups, lr=0.1), steps=2)

    def test_groups_of_parameters_have_their_rates_and_proxes_the_metric(self):
        rules = "use std.penalties\npenalize p: 0.5 * penalties.l1() of elements\n"
        text = TEXT[: TEXT.index("require")].replace("use std.nn\n", "use std.nn\n" + rules.split("\n")[0] + "\n")
        plan = spc.compile(text=text + rules.split("\n")[1] + "\n", bind=self.model)
        rates = {"weight": 0.01, "bias": 0.03}
        groups = [{"params": [p], "lr": rates[n]} for n, p in self.model.named_parameters()]
        opt = torch.optim.AdamW(groups, weight_decay=0.0)
        plan.attach(opt, steps=3)
        before = {n: p.detach().clone() for n, p in self.model.named_parameters()}
        grads = {n: torch.randn_like(p) + 2.0 for n, p in self.model.named_parameters()}
        for n, p in self.model.named_parameters():
            p.grad = grads[n].clone()
        opt.step()
        for n, p in self.model.named_parameters():
            # The first step of Adam is the rate times the sign; it has divided by |g|, and so does the prox.
            g = grads[n]
            v = before[n] - rates[n] * torch.sign(g)
            # Elements are those of matrices.
            cut = 0.5 * rates[n] / g.abs() if n == "weight" else 0.0
            want = torch.sign(v) * torch.clamp(v.abs() - cut, min=0)
            self.assertLess((p.detach() - want).abs().max().item(), 2e-5, n)

    def test_tensors_that_cannot_be_used_in_place_are_refused(self):
        plan = spc.compile(text=TEXT)
        w, b = torch.zeros(8, 16), torch.zeros(8)
        cases = [
            (torch.zeros(16, 8).T, "contiguous", "SP0504"),
            (torch.zeros(8, 32)[:, ::2], "contiguous", "SP0504"),
            (torch.zeros(1, 16).expand(8, 16), "contiguous", "SP0504"),
            (torch.zeros(8, 15), "declares", "SP0404"),
            (torch.empty(8, 16, device="meta"), "not lent", "SP0504"),
            (torch.zeros(8, 16).to_sparse(), "", "SP0504"),
        ]
        for bad, words, code in cases:
            with self.assertRaisesRegex(spc.ArrayError, words) as e:
                plan.optimizer({"net.weight": bad, "net.bias": b}, lr=0.1, steps=2)
            self.assertEqual(e.exception.codes, [code])
        with self.assertRaisesRegex(TypeError, "float16"):
            plan.optimizer({"net.weight": w.half(), "net.bias": b}, lr=0.1, steps=2)
        whole = torch.zeros(8, 16)
        with self.assertRaisesRegex(spc.ArrayError, "shares memory"):
            plan.optimizer({"net.weight": whole, "net.bias": whole[0, :8]}, lr=0.1, steps=2)
        # Part of a larger tensor, contiguous, at an offset.
        big = torch.ones(10, 16)
        opt = plan.optimizer({"net.weight": big[1:9], "net.bias": b}, "sgd", lr=1.0, steps=1)
        opt.step({"net.weight": torch.zeros(8, 16), "net.bias": torch.zeros(8)})
        self.assertEqual([int((row != 0).sum()) for row in big], [16] + 8 * [8] + [16])

    def test_tensors_of_two_names_are_one_parameter(self):
        class Net(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.a = torch.nn.Linear(16, 16, bias=False)
                self.b = torch.nn.Linear(16, 16, bias=False)
                self.b.weight = self.a.weight

            def forward(self, x):
                return self.b(torch.relu(self.a(x)))

        text = """
use std.nn
use std.updates.sr_ste
axis B = 1..64
model net { axes { I = 16 }  a: f32[I, I]  b: f32[I, I] }
fn predict(x: f32[B, I]) -> y: f32[B, I] { y = nn.linear(nn.relu(nn.linear(x, net.a)), net.b) }
require half: keep 2 of 4 of elements per tile(in: 4) on net.* via sr_ste()
"""
        x = torch.randn(64, 16, generator=torch.Generator().manual_seed(1))
        seen = []
        for own in (True, False):
            torch.manual_seed(2)
            net = Net()
            names = {"net.a": "a.weight", "net.b": "b.weight"}
            plan = spc.compile(text=text, bind=net, names=names)
            if own:
                opt = plan.optimizer(name="adamw", lr=0.01, steps=10)
            else:
                opt = torch.optim.AdamW(net.parameters(), lr=0.01, weight_decay=0.0)
                plan.attach(opt, steps=10)
            for _ in range(10):
                opt.zero_grad()
                ((net(x) - x) ** 2).mean().backward()
                opt.step()
            self.assertIs(net.a.weight, net.b.weight)
            self.assertEqual(plan.report()["density"], {"net.a": 0.5, "net.b": 0.5})
            seen.append(net.a.weight.detach().clone())
            with tempfile.TemporaryDirectory() as folder:
                path = os.path.join(folder, "w.safetensors")
                plan.export(path)
                prog = spc.load(text=text, bind={"net": path})
                np.testing.assert_allclose(prog.predict(x), net(x).detach().numpy(), atol=1e-5)
        torch.testing.assert_close(seen[0], seen[1], atol=1e-5, rtol=0)
        counted = text.replace("2 of 4 of elements per tile(in: 4)", "50% of elements per model")
        with self.assertRaisesRegex(spc.Error, "one array") as e:
            spc.compile(text=counted, bind=Net(), names=names).optimizer(lr=0.1, steps=2)
        self.assertEqual(e.exception.codes, ["SP0006"])

    def test_a_program_takes_tensors(self):
        x, _ = data()
        prog = spc.load(text=TEXT, bind=self.model)
        sparse = copy.deepcopy(self.model)
        with torch.no_grad():
            sparse.weight *= mask(sparse.weight)
        np.testing.assert_allclose(prog.predict(x), sparse(x).detach().numpy(), atol=1e-5)


if __name__ == "__main__":
    unittest.main()
