"""Programs from Python: what is computed, and what is refused."""

import os
import tempfile
import threading
import unittest

import numpy as np

import spc

TEXT = """
use std.nn
use std.patterns.nm
axis B = 1..64
model net { axes { I = 8, O = 2 }  w: f32[O, I]  b: f32[O] }
fn classify(x: f32[B, I]) -> y: f32[B, O] { y = nn.relu(nn.linear(x, net.w, net.b)) }
fn both(x: f32[B, I]) -> (y: f32[B, O], best: i32[B]) {
  y = nn.linear(x, net.w, net.b)
  best[b] = argmax(y[b, o] over o)
}
require half: nm(2, 4) on net.w
"""


def kept(w):
    """2 of 4 by magnitude, ties to the left."""
    out = np.zeros_like(w)
    for r in range(w.shape[0]):
        for g in range(0, w.shape[1], 4):
            best = sorted(range(g, g + 4), key=lambda i: (-abs(w[r, i]), i))[:2]
            out[r, best] = w[r, best]
    return out


rng = np.random.default_rng(7)
W = rng.standard_normal((2, 8)).astype(np.float32)
B = np.array([0.5, -0.5], np.float32)
X = rng.standard_normal((5, 8)).astype(np.float32)


def load(**more):
    return spc.load(text=TEXT, bind={"net.w": W, "net.b": B}, **more)


class Calls(unittest.TestCase):
    def test_it_computes_with_the_kept_weights(self):
        want = np.maximum(X @ kept(W).T + B, 0)
        for options in [{}, {"isa": "clif"}, {"interpret": True}, {"threads": 2}]:
            y = load(functions=["classify"], **options).classify(X)
            np.testing.assert_allclose(y, want, atol=1e-6)
            self.assertEqual(y.dtype, np.float32)

    def test_several_results_are_a_dict(self):
        r = load(functions=["both"]).both(x=X)
        self.assertEqual(list(r), ["y", "best"])
        np.testing.assert_array_equal(r["best"], np.argmax(r["y"], axis=1))
        self.assertEqual(r["best"].dtype, np.int32)

    def test_results_are_written_to_given_arrays(self):
        prog = load()
        self.assertEqual(list(prog.results("both")), ["y", "best"])
        want, y = prog.classify(X), np.full((5, 2), 9, np.float32)
        self.assertIs(prog.classify(X, out=y), y)
        np.testing.assert_array_equal(y, want)
        turned = np.zeros((2, 5), np.float32)
        prog.classify(X, out=turned.T)
        np.testing.assert_array_equal(turned.T, want)
        both, best = prog.both(X), np.zeros(5, np.int32)
        found = prog.both(X, out={"best": best})
        self.assertEqual(list(found), ["y", "best"])
        self.assertIs(found["best"], best)
        for name in both:
            np.testing.assert_array_equal(found[name], both[name])

    def test_arrays_that_do_not_fit_results_are_refused(self):
        prog = load()
        for out, error in [
            (np.zeros((4, 2), np.float32), "SP0504"),
            (np.zeros((5, 2), np.int32), "SP0504"),
            (np.zeros((5, 2)), "float64"),
            ({"no": np.zeros((5, 2), np.float32)}, "SP0504"),
        ]:
            with self.assertRaisesRegex(Exception, error):
                prog.classify(X, out=out)
        fixed = np.zeros((5, 2), np.float32)
        fixed.flags.writeable = False
        with self.assertRaisesRegex(Exception, "read-only"):
            prog.classify(X, out=fixed)
        square = spc.load(text="axis B = 1..9\nfn f(x: f32[B]) -> y: f32[B] { y[b] = x[b] * 2 }")
        x = np.ones(4, np.float32)
        with self.assertRaisesRegex(Exception, "shares memory"):
            square.f(x, out=x)
        with self.assertRaisesRegex(TypeError, "several results"):
            prog.both(X, out=np.zeros((5, 2), np.float32))

    def test_dense_is_the_program_without_constraints(self):
        y = load(functions=["classify"], dense=True).classify(X)
        np.testing.assert_allclose(y, np.maximum(X @ W.T + B, 0), atol=1e-6)

    def test_any_order_of_memory_and_width_is_taken(self):
        f = load(functions=["classify"]).classify
        y = f(X)
        np.testing.assert_array_equal(f(np.asfortranarray(X)), y)
        np.testing.assert_array_equal(f(np.repeat(X, 2, axis=0)[::2]), y)
        np.testing.assert_array_equal(f(X.astype(np.float64)), y)
        np.testing.assert_array_equal(f(X.tolist()), y)

    def test_names_shapes_and_plan(self):
        prog = load()
        self.assertEqual(sorted(prog.functions), ["both", "classify"])
        self.assertEqual(prog.inputs("classify"), {"x": "f32[B=?B, I=8]"})
        self.assertIn("classify", dir(prog))
        self.assertIn("x: f32", repr(prog.classify))
        with tempfile.TemporaryDirectory() as d:
            path = os.path.join(d, "plan.json")
            prog.save_plan(path)
            again = load(plan=path)
            self.assertEqual(again.plan, prog.plan)
            np.testing.assert_array_equal(again.classify(X), prog.classify(X))

    def test_threads_may_share_a_program(self):
        f = load(functions=["classify"]).classify
        want, got = f(X), []
        ts = [threading.Thread(target=lambda: got.append(f(X))) for _ in range(8)]
        [t.start() for t in ts]
        [t.join() for t in ts]
        self.assertEqual(len(got), 8)
        for y in got:
            np.testing.assert_array_equal(y, want)


class Binding(unittest.TestCase):
    def test_names_may_differ(self):
        prog = spc.load(text=TEXT, bind={"fc.weight": W, "b": B}, names={"net.w": "fc.weight"}, functions=["classify"])
        np.testing.assert_array_equal(prog.classify(X), load(functions=["classify"]).classify(X))

    def test_wrong_names_and_shapes(self):
        with self.assertRaisesRegex(KeyError, "no weight `net.v`"):
            spc.load(text=TEXT, bind={"net.w": W}, names={"net.v": "net.w"})
        with self.assertRaisesRegex(KeyError, "net.w, net.b"):
            spc.load(text=TEXT, bind={"weight": W})
        with self.assertRaises(spc.Error) as e:
            spc.load(text=TEXT, bind={"net.w": W.T, "net.b": B})
        self.assertEqual(e.exception.codes, ["SP0404"])
        with self.assertRaises(spc.Error) as e:
            spc.load(text=TEXT, bind={"net.w": W * np.nan, "net.b": B})
        self.assertEqual(e.exception.codes, ["SP0406"])
        with self.assertRaisesRegex(TypeError, "complex64"):
            spc.load(text=TEXT, bind={"net.w": W.astype(np.complex64), "net.b": B})

    def test_a_file_is_bound_to_a_model(self):
        with tempfile.TemporaryDirectory() as d:
            path = os.path.join(d, "w.safetensors")
            spc._spc.write_weights(path, {"net.w": W, "net.b": B})
            y = spc.load(text=TEXT, bind={"net": path}, functions=["classify"]).classify(X)
            np.testing.assert_array_equal(y, load(functions=["classify"]).classify(X))


class Refusals(unittest.TestCase):
    def test_errors_show_the_words(self):
        with self.assertRaises(spc.Error) as e:
            spc.load(text="axis B = 1..4\nrequre x\n")
        self.assertEqual(e.exception.codes, ["SP0001"])
        self.assertIn("did you mean `require`", str(e.exception))
        self.assertEqual(e.exception.exit_code, 1)

    def test_calls(self):
        prog = load(functions=["classify"])
        for bad, what in [
            (lambda: prog.classify(X, X), TypeError),
            (lambda: prog.classify(X, x=X), TypeError),
            (lambda: prog.classify(X.astype(complex)), TypeError),
            (lambda: prog.classify("text"), TypeError),
            (lambda: prog["other"], KeyError),
            (lambda: prog.other, AttributeError),
        ]:
            with self.assertRaises(what):
                bad()
        for bad in [lambda: prog.classify(), lambda: prog.classify(y=X), lambda: prog.classify(X[:, :7])]:
            with self.assertRaises(spc.Error) as e:
                bad()
            self.assertEqual(e.exception.codes, ["SP0504"])

    def test_options(self):
        with self.assertRaisesRegex(TypeError, "no option `thread`"):
            load(thread=2)
        with self.assertRaisesRegex(ValueError, "known: clif"):
            load(isa="avx1024")
        with self.assertRaises(TypeError):
            spc.load()
        with self.assertRaises(spc.Error) as e:
            spc.load("nowhere.sp")
        self.assertEqual(e.exception.codes, ["SP0401"])


if __name__ == "__main__":
    unittest.main()
