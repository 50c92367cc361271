"""Training from Python: in place, exact, resumable; and what is refused."""

import json
import os
import sys
import tempfile
import unittest

import numpy as np

import spc

TEXT = """
use std.nn
use std.updates.sr_ste
axis B = 1..64
model net { axes { I = 16, O = 8 }  w: f32[O, I]  b: f32[O] }
fn predict(x: f32[B, I]) -> y: f32[B, O] { y = nn.linear(x, net.w, net.b) }
require half: keep 2 of 4 of elements per tile(in: 4) on net.w via sr_ste()
"""
STEPS = 50
LR = 0.01
BETA1, BETA2, EPS = 0.9, 0.999, 1e-8
LAMBDA = 2e-4


def mask(w):
    groups = np.abs(w).reshape(-1, 4)
    order = np.argsort(-groups, axis=1, kind="stable")
    m = np.zeros(groups.shape, bool)
    np.put_along_axis(m, order[:, :2], True, axis=1)
    return m.reshape(w.shape)


def start(seed=3):
    rng = np.random.default_rng(seed)
    w = rng.standard_normal((8, 16)).astype(np.float32)
    b = np.zeros(8, np.float32)
    x = rng.standard_normal((32, 16)).astype(np.float32)
    y = (x @ mask(w * rng.standard_normal((8, 16)))[:8].T).astype(np.float32)
    return w, b, x, y


def gradients(w, b, x, y):
    d = (x @ w.T + b - y) * np.float32(2 / len(x))
    return {"net.w": d.T @ x, "net.b": d.sum(axis=0)}


def by_hand(w, b, x, y, steps):
    """SR-STE (Zhou et al. 2021) under AdamW, in f64: the gradient at the masked weights, plus decay on what is masked."""
    w, b = w.astype(np.float64), b.astype(np.float64)
    m = {"w": np.zeros_like(w), "b": np.zeros_like(b)}
    v = {"w": np.zeros_like(w), "b": np.zeros_like(b)}
    for t in range(1, steps + 1):
        seen = mask(w)
        g = gradients(w * seen, b, x, y)
        g = {"w": g["net.w"] + LAMBDA * ~seen * w, "b": g["net.b"]}
        for k, p in (("w", w), ("b", b)):
            m[k] = BETA1 * m[k] + (1 - BETA1) * g[k]
            v[k] = BETA2 * v[k] + (1 - BETA2) * g[k] ** 2
            p -= LR * (m[k] / (1 - BETA1**t)) / (np.sqrt(v[k] / (1 - BETA2**t)) + EPS)
    return w * mask(w), b


class Projections(unittest.TestCase):
    def test_weights_are_pruned_in_place_and_stay_so(self):
        w, b, _, _ = start()
        want, seen = w * mask(w), w
        plan = spc.compile(text=TEXT)
        plan.project({"net.w": w, "net.b": b})
        self.assertIs(w, seen)
        np.testing.assert_array_equal(w, want)
        plan.project({"net.w": w, "net.b": b})
        np.testing.assert_array_equal(w, want)

    def test_what_is_refused(self):
        w, b, _, _ = start()
        plan = spc.compile(text=TEXT)
        with self.assertRaises(KeyError):
            plan.project({"net.w": w})
        with self.assertRaises(spc.ArrayError):
            plan.project({"net.w": w.T, "net.b": b})
        bad = w.copy()
        bad[3, 1] = np.nan
        with self.assertRaises(spc.Error) as e:
            plan.project({"net.w": bad, "net.b": b})
        self.assertEqual(e.exception.codes, ["SP0406"])
        self.assertIn("index 49", str(e.exception))
        by_gradients = spc.compile(text=TEXT.replace("(in: 4) on", "(in: 4) by abs(g) on"))
        with self.assertRaises(spc.Error) as e:
            by_gradients.project({"net.w": w, "net.b": b})
        self.assertEqual(e.exception.codes, ["SP0006"])


TIED = """
use std.updates.sr_ste
axis B = 1..8
model net { axes { D = 16, H = 16 }  e: f32[H, D]  out: f32[H, D] }
fn f(x: f32[B, D]) -> y: f32[B, H] {
  s[b, h] = net.e[h, d] * x[b, d]
  t[b, h] = net.out[h, d] * x[b, d]
  y = s + t
}
require half: keep 2 of 4 of elements per tile(in: 4) on net.out via sr_ste()
"""


class Ties(unittest.TestCase):
    def test_one_array_of_two_names_is_one_parameter(self):
        rng = np.random.default_rng(4)
        w = rng.standard_normal((16, 16)).astype(np.float32)
        g = rng.standard_normal((16, 16)).astype(np.float32)
        apart = {"net.e": w.copy(), "net.out": w.copy()}
        other = spc.compile(text=TIED).optimizer(apart, "sgd", lr=0.1, steps=2)
        plan = spc.compile(text=TIED)
        opt = plan.optimizer({"net.e": w, "net.out": w}, "sgd", lr=0.1, steps=2)
        for _ in range(2):
            opt.step({"net.e": g})
            other.step({"net.e": g, "net.out": g})
        # The rule of the second name acts on the array, once.
        np.testing.assert_array_equal(w, apart["net.out"])
        self.assertTrue(((w.reshape(-1, 4) != 0).sum(axis=1) <= 2).all())
        self.assertTrue((apart["net.e"] != 0).all())
        with self.assertRaisesRegex(KeyError, "same array as `net.e`"):
            plan.optimizer({"net.e": w, "net.out": w}, "sgd", lr=0.1, steps=2).step({"net.out": g})
        with tempfile.TemporaryDirectory() as d:
            plan = spc.compile(text=TIED)
            opt = plan.optimizer({"net.e": w, "net.out": w}, "sgd", lr=0.1, steps=1)
            opt.step({"net.e": g})
            plan.export(os.path.join(d, "w.safetensors"))
            size = os.path.getsize(os.path.join(d, "w.safetensors"))
            self.assertGreater(size, 2 * w.nbytes, "both names are written")

    def test_a_rule_that_counts_one_array_twice_is_refused(self):
        w = np.ones((16, 16), np.float32)
        text = TIED[: TIED.index("require")] + "require r: keep 30% of elements per model on net.{e, out}\n"
        with self.assertRaises(spc.Error) as e:
            spc.compile(text=text).optimizer({"net.e": w, "net.out": w}, "sgd", lr=0.1, steps=2)
        self.assertEqual(e.exception.codes, ["SP0006"])


class Runs(unittest.TestCase):
    def test_sr_ste_is_the_published_rule(self):
        w, b, x, y = start()
        want_w, want_b = by_hand(w, b, x, y, STEPS)
        plan = spc.compile(text=TEXT)
        self.assertEqual(plan.weights, {"net.w": (8, 16), "net.b": (8,)})
        opt = plan.optimizer({"net.w": w, "net.b": b}, "adamw", lr=LR, steps=STEPS)
        self.assertIsNone(opt.interpreted)
        for _ in range(STEPS):
            # The parameter holds what the program reads: half of each four are zeros.
            self.assertTrue((np.count_nonzero(w.reshape(-1, 4), axis=1) <= 2).all())
            opt.step(gradients(w, b, x, y))
        np.testing.assert_allclose(w, want_w, atol=2e-5)
        np.testing.assert_allclose(b, want_b, atol=2e-5)
        self.assertEqual(plan.report()["density"]["net.w"], 0.5)

    def test_a_run_that_stops_goes_on_bit_for_bit(self):
        w, b, x, y = start()
        w2, b2 = w.copy(), b.copy()
        a = spc.compile(text=TEXT).optimizer({"net.w": w, "net.b": b}, lr=LR, steps=20)
        for _ in range(20):
            a.step(gradients(w, b, x, y))
        first = spc.compile(text=TEXT)
        one = first.optimizer({"net.w": w2, "net.b": b2}, lr=LR, steps=20)
        for _ in range(7):
            one.step(gradients(w2, b2, x, y))
        memory, at = first.state_dict(), (w2.copy(), b2.copy())
        w3, b3 = start()[:2]
        other = spc.compile(text=TEXT)
        two = other.optimizer({"net.w": w3, "net.b": b3}, lr=LR, steps=20)
        w3[:], b3[:] = at
        other.load_state_dict(memory)
        for _ in range(13):
            two.step(gradients(w3, b3, x, y))
        np.testing.assert_array_equal(w3, w)
        np.testing.assert_array_equal(b3, b)

    def test_an_export_holds_the_constraint_and_runs(self):
        w, b, x, y = start()
        plan = spc.compile(text=TEXT)
        opt = plan.optimizer({"net.w": w, "net.b": b}, "sgd", lr=LR, steps=3)
        with tempfile.TemporaryDirectory() as d:
            path = os.path.join(d, "w.safetensors")
            with self.assertRaisesRegex(RuntimeError, "0 of its 3"):
                plan.export(path)
            for _ in range(3):
                opt.step(gradients(w, b, x, y))
            plan.export(path)
            prog = spc.load(text=TEXT, bind={"net.w": w, "net.b": b})
            np.testing.assert_allclose(prog.predict(x), x @ w.T + b, atol=1e-5)
            dense = spc.load(text=TEXT, bind={"net.w": w, "net.b": b}, dense=True)
            np.testing.assert_allclose(prog.predict(x), dense.predict(x), atol=1e-5)
            # The file holds these weights under the program's names, and the constraint holds in it without being applied.
            written = spc.load(text=TEXT, bind={"net": path}, dense=True)
            np.testing.assert_array_equal(written.predict(x), dense.predict(x))
            self.assertTrue((np.count_nonzero(w.reshape(-1, 4), axis=1) <= 2).all())

    def test_rates_may_follow_the_step(self):
        w, b, x, y = start()
        before = b.copy()
        opt = spc.compile(text=TEXT).optimizer({"net.w": w, "net.b": b}, "sgd", lr=lambda s: 0.0 if s else 1.0, steps=2)
        g = gradients(w, b, x, y)
        for _ in range(2):
            opt.step(g)
            np.testing.assert_allclose(b, before - g["net.b"], atol=1e-6)

    def test_each_parameter_may_have_its_rate(self):
        w, b, x, y = start()
        plan = spc.compile(text=TEXT)
        opt = plan.optimizer({"net.w": w, "net.b": b}, "sgd", lr={"net.w": 0.0, "net.b": 0.5}, steps=2)
        before = w.copy()
        opt.step({"net.w": np.ones_like(w), "net.b": np.ones_like(b)})
        self.assertTrue((w == before).all())
        self.assertTrue((b == -0.5).all())
        other = plan.optimizer({"net.w": w, "net.b": b}, "sgd", lr={"net.w": 0.1}, steps=2)
        with self.assertRaises(spc.Error) as e:
            other.step({"net.w": np.ones_like(w), "net.b": np.ones_like(b)})
        self.assertEqual(e.exception.codes, ["SP0403"])

    def test_a_log_has_lines(self):
        w, b, x, y = start()
        plan = spc.compile(text=TEXT)
        opt = plan.optimizer({"net.w": w, "net.b": b}, "sgd", lr=0.1, steps=5)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "run.jsonl")
            opt.log(path, every=2)
            for _ in range(5):
                opt.step(gradients(w, b, x, y))
            with open(path, encoding="utf-8") as f:
                lines = [json.loads(line) for line in f]
        self.assertEqual([line["step"] for line in lines], [0, 2, 4, 5])
        for line in lines:
            self.assertEqual(line["weights"]["net.w"]["density"], 0.5)
        self.assertGreater(lines[1]["weights"]["net.w"]["distance"], 0)
        self.assertEqual(lines[-1]["weights"]["net.w"]["distance"], 0)
        with self.assertRaises(ValueError):
            opt.log(path, every=0)

    def test_a_parameter_without_rules_needs_no_gradient(self):
        w, b, x, y = start()
        opt = spc.compile(text=TEXT).optimizer({"net.w": w, "net.b": b}, "sgd", lr=1.0, steps=1)
        opt.step({"net.w": gradients(w, b, x, y)["net.w"]})
        np.testing.assert_array_equal(b, 0)


class Lender:
    """An array of another library: nothing of numpy but what it lends by DLPack."""

    def __init__(self, array, device=(1, 0), versions=True):
        self.array, self.device, self.versions = array, device, versions
        self.asked = []

    def __dlpack_device__(self):
        return self.device

    def __dlpack__(self, **wanted):
        self.asked.append(wanted)
        if wanted and not self.versions:
            raise TypeError("unexpected keyword")
        return self.array.__dlpack__(**wanted)


class Lent(unittest.TestCase):
    def test_arrays_of_others_are_changed_in_place(self):
        for versions in (True, False):
            w, b, x, y = start()
            w2, b2 = w.copy(), b.copy()
            lent = {"net.w": Lender(w2, versions=versions), "net.b": Lender(b2, versions=versions)}
            one = spc.compile(text=TEXT).optimizer({"net.w": w, "net.b": b}, lr=LR, steps=3)
            two = spc.compile(text=TEXT).optimizer(lent, lr=LR, steps=3)
            for _ in range(3):
                one.step(gradients(w, b, x, y))
                g = gradients(w2, b2, x, y)
                # A gradient may be read-only.
                g["net.w"].flags.writeable = not versions
                two.step({n: Lender(np.ascontiguousarray(v), versions=versions) for n, v in g.items()})
            np.testing.assert_array_equal(w, w2)
            np.testing.assert_array_equal(b, b2)
            self.assertEqual(int((w2 != 0).sum()), 64)
            self.assertEqual(lent["net.w"].asked[0], {"max_version": (1, 0), "copy": False})

    def test_what_cannot_be_used_in_place_is_refused(self):
        w, b, _, _ = start()
        fixed = w.copy()
        fixed.flags.writeable = False
        before = w.copy()
        for bad, words, code in [
            (Lender(w, device=(2, 0)), "lies on cuda", "SP0504"),
            (Lender(fixed), "read-only", "SP0504"),
            (Lender(np.asfortranarray(w)), "contiguous", "SP0504"),
            (Lender(np.zeros((8, 32), np.float32)[:, ::2]), "contiguous", "SP0504"),
            (Lender(np.zeros((9, 16), np.float32)), "declares", "SP0404"),
            (Lender(np.zeros(9, np.float32)), "declares", "SP0404"),
        ]:
            with self.assertRaisesRegex(spc.ArrayError, words) as e:
                spc.compile(text=TEXT).optimizer({"net.w": bad, "net.b": b}, lr=LR, steps=2)
            self.assertEqual(e.exception.codes, [code])
            self.assertIsInstance(e.exception, spc.Error)
        with self.assertRaisesRegex(TypeError, "no array of float32"):
            spc.compile(text=TEXT).optimizer({"net.w": Lender(w.astype(np.int32)), "net.b": b}, lr=LR, steps=2)
        with self.assertRaisesRegex(spc.ArrayError, "shares memory"):
            both = np.zeros(8 * 16, np.float32)
            lent = {"net.w": Lender(both.reshape(8, 16)), "net.b": both[:8]}
            spc.compile(text=TEXT).optimizer(lent, lr=LR, steps=2)
        np.testing.assert_array_equal(w, before)

    def test_a_capsule_is_let_go(self):
        w, b, x, y = start()
        held = sys.getrefcount(w)
        opt = spc.compile(text=TEXT).optimizer({"net.w": Lender(w), "net.b": b}, lr=LR, steps=2)
        opt.step(gradients(w, b, x, y))
        del opt
        self.assertEqual(sys.getrefcount(w), held)


class Refusals(unittest.TestCase):
    def begin(self, w=None, b=None, **more):
        w0, b0, _, _ = start()
        given = {"net.w": w0 if w is None else w, "net.b": b0 if b is None else b}
        return spc.compile(text=TEXT).optimizer(given, lr=LR, steps=2, **more)

    def test_parameters(self):
        w, b, _, _ = start()
        with self.assertRaisesRegex(ValueError, "declares"):
            self.begin(w=w.T.copy())
        with self.assertRaisesRegex(ValueError, "contiguous"):
            self.begin(w=np.asfortranarray(w))
        with self.assertRaisesRegex(TypeError, "float64"):
            self.begin(w=w.astype(np.float64))
        fixed = w.copy()
        fixed.flags.writeable = False
        with self.assertRaisesRegex(ValueError, "read-only"):
            self.begin(w=fixed)
        both = np.zeros(8 * 16, np.float32)
        with self.assertRaisesRegex(ValueError, "shares memory"):
            self.begin(w=both.reshape(8, 16), b=both[:8])
        with self.assertRaises(spc.Error) as e:
            self.begin(w=np.full_like(w, np.inf))
        self.assertEqual(e.exception.codes, ["SP0406"])
        with self.assertRaisesRegex(KeyError, "net.b"):
            spc.compile(text=TEXT).optimizer({"net.w": w}, lr=LR, steps=2)
        with self.assertRaisesRegex(ValueError, "known: sgd, adamw"):
            self.begin(name="lion")

    def test_steps_and_gradients(self):
        w, b, x, y = start()
        opt = spc.compile(text=TEXT).optimizer({"net.w": w, "net.b": b}, lr=LR, steps=2)
        before = w.copy()
        bad = gradients(w, b, x, y)
        bad["net.w"][3, 5] = np.nan
        with self.assertRaises(spc.Error) as e:
            opt.step(bad)
        self.assertEqual(e.exception.codes, ["SP0406"])
        self.assertIn("net.w", str(e.exception))
        np.testing.assert_array_equal(w, before)
        with self.assertRaisesRegex(TypeError, "no gradients"):
            opt.step()
        with self.assertRaisesRegex(KeyError, "net.v"):
            opt.step({"net.v": bad["net.b"]})
        with self.assertRaisesRegex(ValueError, "shape"):
            opt.step({"net.w": bad["net.b"]})
        with self.assertRaisesRegex(ValueError, "shares memory"):
            opt.step({"net.w": w})
        for _ in range(2):
            opt.step(gradients(w, b, x, y))
        with self.assertRaises(spc.Error) as e:
            opt.step(gradients(w, b, x, y))
        self.assertEqual(e.exception.codes, ["SP0338"])

    def test_states_of_other_plans(self):
        w, b, _, _ = start()
        plan = spc.compile(text=TEXT)
        plan.optimizer({"net.w": w, "net.b": b}, lr=LR, steps=2)
        memory = plan.state_dict()
        other = spc.compile(text=TEXT)
        other.optimizer({"net.w": w.copy(), "net.b": b.copy()}, "sgd", lr=LR, steps=2)
        with self.assertRaises(spc.Error) as e:
            other.load_state_dict(memory)
        self.assertEqual(e.exception.codes, ["SP0337"])
        with self.assertRaises(spc.Error):
            plan.load_state_dict({"step": 0, "memory": b"nothing"})


if __name__ == "__main__":
    unittest.main()
