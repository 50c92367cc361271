"""Weights by name: from dictionaries, safetensors files and torch modules."""

import os

import numpy as np

from ._spc import ArrayError


def tensors_of(source):
    """The tensors of a torch module, or of a mapping, by name. Nothing is copied."""
    if hasattr(source, "named_parameters"):
        named = dict(source.named_parameters(remove_duplicate=False))
        named.update(source.named_buffers())
        return named
    return dict(source)


def as_array(name, value):
    """A numpy view of an array or of a torch tensor on the CPU."""
    if hasattr(value, "detach"):
        value = value.detach()
        if value.device.type != "cpu":
            error = ArrayError(f"error[SP0504]: `{name}` lies on {value.device}; spc reads arrays on the CPU only")
            error.codes, error.exit_code = ["SP0504"], 1
            raise error
        return value.numpy()
    return value if isinstance(value, np.ndarray) else np.asarray(value)


def lent(value):
    """What the extension module takes: an array of numpy, or another library's, which is lent by DLPack without a copy."""
    if hasattr(value, "detach"):
        return value.detach()
    return value if hasattr(value, "__dlpack__") else np.asarray(value)


def as_gradient(value):
    """float32 in row-major order; a copy where it is not."""
    if hasattr(value, "detach"):
        return value.detach().float().contiguous()
    if hasattr(value, "__dlpack__") and not isinstance(value, np.ndarray):
        return value
    return np.ascontiguousarray(value, dtype=np.float32)


def touched(arrays):
    """Tells autograd that tensors have changed."""
    tensors = [a for a in arrays if hasattr(a, "detach")]
    if tensors:
        import torch

        torch.autograd.graph.increment_version(tensors)


def ties_of(found):
    """Pairs of names that are one array: the later name, and the first."""
    first, ties = {}, []
    for name, value in found.items():
        if hasattr(value, "data_ptr") and value.device.type == "cpu" and not value.is_sparse:
            place = (value.data_ptr(), tuple(value.shape), tuple(value.stride()))
        elif isinstance(value, np.ndarray):
            place = (value.ctypes.data, value.shape, value.strides)
        else:
            place = id(value)
        if place in first and getattr(value, "nbytes", 1):
            ties.append((name, first[place]))
        else:
            first[place] = name
    return ties


def match(declared, given, names=None):
    """Tensors of ``given`` by declared name.

    ``names`` says for a declared name what it is called in ``given``. Without it a tensor may have the declared name
    (``net.w``) or that name without the model's (``w``).
    """
    out = {}
    for name in declared:
        choices = [names[name]] if names and name in names else [name, name.partition(".")[2]]
        found = next((c for c in choices if c in given), None)
        if found is not None:
            out[name] = given[found]
    for wanted in names or {}:
        if wanted not in declared:
            raise KeyError(f"the program has no weight `{wanted}`")
    return out


def bind(checked, source, names=None):
    """Gives a checked program its weights: ``{model: path}``, ``{name: array}``, a torch module, or a mixture."""
    if source is None:
        return
    given = tensors_of(source)
    paths = {n: p for n, p in given.items() if isinstance(p, (str, os.PathLike))}
    for model, path in paths.items():
        checked.bind_file(model, os.fspath(path))
    arrays = {n: a for n, a in given.items() if n not in paths}
    declared = [n for n, _ in checked.weights()]
    found = match(declared, arrays, names)
    if arrays and not found:
        raise KeyError(f"no tensor has the name of a weight of the program: {', '.join(declared)}")
    for name, value in found.items():
        array = as_array(name, value)
        if not np.can_cast(array.dtype, np.float32, "same_kind"):
            raise TypeError(f"`{name}` is bound to an array of {array.dtype}; weights are float32")
        checked.bind(name, array.astype(np.float32, copy=False))
