"""spc, the sparsity compiler.

One declaration (a ``.sp`` file) gives a fast program and the training updates that reach its constraints::

    import spc

    prog = spc.load("model.sp", bind={"net.w": w})      # projects, chooses layouts, compiles
    y = prog.classify(x)                                # numpy in, numpy out

    plan = spc.compile("model.sp")                      # the same file, for training
    opt = plan.optimizer({"net.w": w}, "adamw", lr=1e-3, steps=1000)
    for _ in range(1000):
        opt.step({"net.w": gradient(w)})                # w is changed in place and holds what the program reads
    plan.export("sparse.safetensors")

Arrays are numpy arrays, and for training those of any library that lends them by DLPack, as torch does, in place and without
copies.
"""

from ._spc import ArrayError, Error
from .program import Program, load
from .training import Optimizer, Plan, compile

__all__ = ["ArrayError", "Error", "Optimizer", "Plan", "Program", "compile", "load"]
