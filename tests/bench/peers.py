"""One linear layer in spc and in the libraries that people would use instead, in turns, in one process.

    python3 -m venv V && V/bin/pip install numpy scipy torch onnx onnxruntime mkl
    bash crates/spc-py/build.sh --release
    PYTHONPATH=crates/spc-py/python V/bin/python tests/bench/peers.py [--rounds 40] [FILTER ..]

A row is a layer (outputs x inputs, what its zeros are, tokens; of a convolution 3 x 3 with padding, channels and the side of one
square image). Every round calls each candidate once in a random order, often
enough to take 3 ms, and counts processor time of the calling thread; all of them use one thread. The figure of a peer is the
median over the rounds of its time over spc's in the same round, with the quartiles. spc takes activations as numpy arrays in
declared order and writes to one (`out=`), so its time holds all conversions; onnxruntime has its arrays bound beforehand, too.
A peer that is not installed is left out and named.

Do not bind the process to one core (taskset): onnxruntime then leaves AMX unused. `--no-tiles` does so on purpose: it binds the
process to one core, tells oneDNN (torch) to use no more than VNNI, and compiles spc for avx512vnni, so that all run as on a
processor with VNNI and without AMX.
"""

import argparse
import ctypes
import glob
import os
import random
import sys
import time
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
ISA = {}
if "--no-tiles" in sys.argv:
    os.environ["ONEDNN_MAX_CPU_ISA"] = "AVX512_CORE_VNNI"
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    ISA = {"isa": "avx512vnni"}
warnings.filterwarnings("ignore")
import numpy as np  # noqa: E402
import spc  # noqa: E402

MISSING = set()


# ---------------------------------------------------------------------------------------------- layers


def weights(kind, zeros, o, k, rng):
    """A weight with zeros: `free` of single weights, `blocks` of 16 outputs x 4 inputs, `2:4`, `dense`."""
    w = rng.standard_normal((o, k), dtype=np.float32)
    if kind == "free":
        w[rng.random((o, k)) < zeros] = 0
    elif kind == "blocks":
        gone = rng.random((-(-o // 16), -(-k // 4))) < zeros
        w[np.kron(gone, np.ones((16, 4), bool))[:o, :k]] = 0
    elif kind == "2:4":
        order = np.argsort(np.abs(w).reshape(o, k // 4, 4), axis=2)
        mask = np.ones((o, k // 4, 4), bool)
        np.put_along_axis(mask, order[:, :, :2], False, axis=2)
        w *= mask.reshape(o, k)
    return w


FORMS = {
    "f32": "",
    "int8": "quantize q: net.w to int8(per: tile(in: all), inputs: int8)",
    "int4": "quantize q: net.w to int4(per: tile(in: 32), inputs: int8)",
}


def ours(w, form, tokens):
    o, k = w.shape
    text = f"""use std.nn
axis B = 1..{max(tokens, 2)}
model net {{ axes {{ I = {k}, O = {o} }} w: f32[O, I] }}
fn f(x: f32[B, I]) -> y: f32[B, O] {{ y = nn.linear(x, net.w) }}
{FORMS[form]}
target t = cpu(threads: 1) {{ B = {tokens} }}
"""
    return spc.load(text=text, bind={"net.w": w}, **ISA)


def ours_conv(w, side):
    o, i, r, _ = w.shape
    text = f"""use std.nn
axis B = 1..2, H = 1..{side}, W = 1..{side}
model net {{ axes {{ I = {i}, O = {o}, R = {r}, S = {r} }} w: f32[O, I, R, S] }}
fn f(x: f32[B, I, H, W]) -> y: f32[B, O, P, Q] where P = H + 2 - {r} + 1, Q = W + 2 - {r} + 1 {{ y = nn.conv2d(x, net.w, pad: 1) }}
target t = cpu(threads: 1) {{ B = 1, H = {side}, W = {side} }}
"""
    return spc.load(text=text, bind={"net.w": w}, **ISA)


def layout(program):
    return program.plan["functions"][0]["linears"][0]["layout"]


# ---------------------------------------------------------------------------------------------- peers


class Mkl:
    """The parts of MKL that the rows need: gemv, gemm, and products with its optimised CSR."""

    class Kind(ctypes.Structure):
        _fields_ = [("type", ctypes.c_int), ("mode", ctypes.c_int), ("diag", ctypes.c_int)]

    def __init__(self):
        found = sorted(glob.glob(os.path.join(sys.prefix, "lib", "libmkl_rt.so*")))
        if not found:
            raise ImportError("mkl")
        os.environ["MKL_THREADING_LAYER"] = "SEQUENTIAL"
        self.lib = ctypes.CDLL(found[-1])
        pointer, integer, real = ctypes.c_void_p, ctypes.c_int, ctypes.c_float
        self.lib.cblas_sgemv.argtypes = [integer] * 4 + [real, pointer, integer, pointer, integer, real, pointer, integer]
        self.lib.cblas_sgemm.argtypes = [integer] * 6 + [real, pointer, integer, pointer, integer, real, pointer, integer]
        self.lib.mkl_sparse_s_mv.argtypes = [integer, real, pointer, self.Kind, pointer, real, pointer]
        self.lib.mkl_sparse_s_mm.argtypes = [integer, real, pointer, self.Kind, integer, pointer, integer, integer, real, pointer, integer]
        self.general = self.Kind(20, 0, 0)

    def dense(self, w, x):
        """y [tokens, O] = x [tokens, K] w.T, all of rows."""
        (o, k), t = w.shape, x.shape[0]
        y = np.empty((t, o), np.float32)
        wp, xp, yp = (a.ctypes.data for a in (w, x, y))
        if t == 1:
            call = lambda: self.lib.cblas_sgemv(101, 111, o, k, 1.0, wp, k, xp, 1, 0.0, yp, 1)  # noqa: E731
        else:
            call = lambda: self.lib.cblas_sgemm(101, 111, 112, t, o, k, 1.0, xp, k, wp, k, 0.0, yp, o)  # noqa: E731
        call.keep = (w, x, y)
        return y, call

    def csr(self, w, x):
        """The faster form for MKL: activations and results feature by feature, x [K, tokens]."""
        from scipy.sparse import csr_matrix

        (o, k), t = w.shape, x.shape[0]
        m = csr_matrix(w)
        starts, columns = m.indptr.astype(np.int32), m.indices.astype(np.int32)
        values = np.ascontiguousarray(m.data)
        handle = ctypes.c_void_p()
        p = ctypes.c_void_p
        code = self.lib.mkl_sparse_s_create_csr(
            ctypes.byref(handle), 0, o, k, p(starts.ctypes.data), p(starts.ctypes.data + 4), p(columns.ctypes.data), p(values.ctypes.data)
        )
        assert code == 0, code
        if t == 1:
            self.lib.mkl_sparse_set_mv_hint(handle, 10, self.general, 100_000)
        else:
            self.lib.mkl_sparse_set_mm_hint(handle, 10, self.general, 101, t, 100_000)
        assert self.lib.mkl_sparse_optimize(handle) == 0
        xt, y = np.ascontiguousarray(x.T), np.empty((o, t), np.float32)
        keep = (starts, columns, values, xt, y)
        if t == 1:
            call = lambda: self.lib.mkl_sparse_s_mv(10, 1.0, handle, self.general, xt.ctypes.data, 0.0, y.ctypes.data)  # noqa: E731
        else:
            call = lambda: self.lib.mkl_sparse_s_mm(10, 1.0, handle, self.general, 101, xt.ctypes.data, t, t, 0.0, y.ctypes.data, t)  # noqa: E731
        call.keep = keep
        return y.T, call


def torch_dynamic(w, x):
    import torch

    torch.set_num_threads(1)
    linear = torch.nn.Linear(w.shape[1], w.shape[0], bias=False)
    linear.weight.data = torch.from_numpy(w.copy())
    q = torch.ao.quantization.quantize_dynamic(torch.nn.Sequential(linear), {torch.nn.Linear}, dtype=torch.qint8)
    xt = torch.from_numpy(x)

    def call():
        with torch.inference_mode():
            return q(xt)

    return call().numpy(), call


def onnx_static(w, x):
    """Rounded weights a row, activations with one scale: QLinearMatMul, as onnxruntime runs it on VNNI."""
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    (o, k), t = w.shape, x.shape[0]
    scale = np.maximum(np.abs(w).max(1) / 127, 1e-9).astype(np.float32)
    codes = np.clip(np.rint(w / scale[:, None]), -127, 127).astype(np.int8)
    step = np.float32(np.abs(x).max() / 127)
    constant = numpy_helper.from_array
    given = [
        constant(np.ascontiguousarray(codes.T), "wq"),
        constant(scale, "ws"),
        constant(np.zeros(o, np.int8), "wz"),
        constant(np.array(step, np.float32), "xs"),
        constant(np.array(128, np.uint8), "xz"),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "xs", "xz"], ["xd"]),
        helper.make_node("DequantizeLinear", ["wq", "ws", "wz"], ["wd"], axis=1),
        helper.make_node("MatMul", ["xd", "wd"], ["y"]),
    ]
    ends = ([helper.make_tensor_value_info(n, TensorProto.FLOAT, [t, s])] for n, s in (("x", k), ("y", o)))
    model = helper.make_model(helper.make_graph(nodes, "g", *ends, given), opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    binding.bind_ortvalue_input("x", onnxruntime.OrtValue.ortvalue_from_numpy(x))
    y = onnxruntime.OrtValue.ortvalue_from_shape_and_type([t, o], np.float32)
    binding.bind_ortvalue_output("y", y)
    call = lambda: session.run_with_iobinding(binding)  # noqa: E731
    call()
    return y.numpy(), call


def torch_conv(w, x):
    import torch

    torch.set_num_threads(1)
    xt, wt = torch.from_numpy(x), torch.from_numpy(w)

    def call():
        with torch.inference_mode():
            return torch.nn.functional.conv2d(xt, wt, padding=1)

    return call().numpy(), call


# ---------------------------------------------------------------------------------------------- timing


def per_call(call, least=0.003):
    call()
    n = 1
    while True:
        start = time.thread_time()
        for _ in range(n):
            call()
        took = time.thread_time() - start
        if took >= least:
            return n
        n = max(n + 1, int(n * least / max(took, 1e-5)))


def in_turns(calls, rounds):
    """Seconds a call, [round, candidate]."""
    times = np.empty((rounds, len(calls)))
    counts = [per_call(c) for c in calls]
    for r in range(rounds):
        order = list(range(len(calls)))
        random.shuffle(order)
        for i in order:
            start = time.thread_time()
            for _ in range(counts[i]):
                calls[i]()
            times[r, i] = (time.thread_time() - start) / counts[i]
    return times


def close(ours, other, form):
    """Whether two results are of the same layer: rounding of 8 and 4 bits is coarse."""
    slack = {"f32": 1e-4, "conv": 1e-4, "int8": 0.05, "int4": 0.3}[form]
    return np.abs(ours - other).max() <= slack * np.abs(other).max()


ROWS = (
    [("f32", "dense", 0.0, 4096, 4096, t) for t in (16, 128)]
    + [("f32", "free", 0.9, 4096, 4096, t) for t in (1, 16, 128)]
    + [("f32", "2:4", 0.5, 4096, 4096, 1)]
    + [("int8", "blocks", z, 4096, 4096, t) for z in (0.5, 0.8, 0.9) for t in (12, 48, 128)]
    + [("int8", "free", 0.9, 4096, 4096, t) for t in (1, 16, 128)]
    + [("int8", "2:4", 0.5, 4096, 4096, 1), ("int4", "2:4", 0.5, 4096, 4096, 1)]
    + [("int8", "blocks", 0.8, o, 1536, t) for o in (576, 384) for t in (1, 16, 128)]
    + [("conv", kind, z, c, c, side) for c, side in ((64, 56), (256, 14)) for kind, z in (("dense", 0.0), ("blocks", 0.75))]
)


def candidates(form, kind, w, x):
    """Names, results and calls of the peers of a row."""
    t = x.shape[0]
    makers = {}
    if form == "conv":
        makers["torch"] = lambda: torch_conv(w, x)
    elif form == "f32":
        makers["MKL dense"] = lambda: Mkl().dense(w, x)
        if kind == "free":
            makers["MKL CSR"] = lambda: Mkl().csr(w, x)
    else:
        makers["onnxruntime int8"] = lambda: onnx_static(w, x)
        makers["torch int8, dynamic"] = lambda: torch_dynamic(w, x)
    if kind != "dense":
        # Large enough that no rounding makes it zero again.
        full = np.where(w == 0, np.float32(1), w)
        program = ours_conv(full, x.shape[3]) if form == "conv" else ours(full, form, t)
        to = program.f(x)
        makers[f"spc, no zeros ({layout(program)})"] = lambda: (None, lambda: program.f(x, out=to))
    for name, make in makers.items():
        try:
            yield (name, *make())
        except ImportError as e:
            MISSING.add(str(e))


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--rounds", type=int, default=40)
    arguments.add_argument("--no-tiles", action="store_true")
    arguments.add_argument("filters", nargs="*")
    chosen = arguments.parse_args()
    rng = np.random.default_rng(7)
    print("| layer | zeros | tokens | spc | us | peer | us | peer / spc, median | quartiles |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for form, kind, zeros, o, k, t in ROWS:
        name = f"{form} {o} x {k} | {f'{kind} ' if kind != 'dense' else ''}{zeros:.0%} | {t}"
        if not all(f in name for f in chosen.filters):
            continue
        if form == "conv":
            w, x = weights(kind, zeros, o, 9 * k, rng).reshape(o, k, 3, 3), rng.standard_normal((1, k, t, t), dtype=np.float32)
            program = ours_conv(w, t)
        else:
            w, x = weights(kind, zeros, o, k, rng), rng.standard_normal((t, k), dtype=np.float32)
            program = ours(w, form, t)
        y = program.f(x)
        names, calls = [], [lambda: program.f(x, out=y)]  # noqa: B023
        for peer, result, call in candidates(form, kind, w, x):
            if result is not None:
                call()
                assert close(y, result, form), f"{name}: {peer} computes something else"
            names.append(peer)
            calls.append(call)
        times = in_turns(calls, chosen.rounds)
        for i, peer in enumerate(names, 1):
            low, mid, high = np.quantile(times[:, i] / times[:, 0], [0.25, 0.5, 0.75])
            a, b = np.median(times[:, 0]) * 1e6, np.median(times[:, i]) * 1e6
            print(f"| {name} | {layout(program)} | {a:.0f} | {peer} | {b:.0f} | {mid:.2f} | {low:.2f} to {high:.2f} |", flush=True)
    for m in sorted(MISSING):
        print(f"not installed: {m}")


if __name__ == "__main__":
    main()
