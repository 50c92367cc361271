"""Compiled programs that can be called."""

import json
import os

import numpy as np

from . import _spc, binding

_TYPES = {"f32": np.float32, "i32": np.int32, "bool": np.bool_}


def load(source=None, *, text=None, bind=None, names=None, **options):
    """A compiled program.

    source: path of a ``.sp`` file, or of a folder that ``spc compile -o`` wrote.
    text: the program itself, instead of a path.
    bind: weights, instead of those that the program's files hold: ``{"net": "w.safetensors"}``, ``{"net.w": array}`` or a
        torch module.
    names: what a weight is called in ``bind``, where it is not the declared name: ``{"net.w": "fc1.weight"}``.
    options: ``functions`` (list of names), ``threads``, ``target``, ``plan`` (path of a plan.json), ``isa``, ``interpret``,
        ``dense``, ``base``, ``std``; ``docs/embedding.md`` has their meaning.

    Raises Error with ``codes`` where spc refuses the program or its weights.
    """
    if source is not None and text is None and os.path.isdir(source):
        if bind is not None:
            raise TypeError("a compiled folder has its weights; `bind` is for a .sp file")
        return Program(_spc.load_folder(os.fspath(source), options))
    checked = _spc.compile(None if source is None else os.fspath(source), text, options)
    binding.bind(checked, bind, names)
    return Program(checked.build())


class Program:
    """Functions of a program: ``prog.classify(x)`` or ``prog["classify"](x=x)``.

    A function takes arrays in the declared order or by name, and gives an array, or a dict of arrays where it has several
    results. Calls may come from several threads.
    """

    def __init__(self, inner):
        self._inner, self._made = inner, {}

    @property
    def functions(self):
        """Names of the functions."""
        return self._inner.functions()

    @property
    def warnings(self):
        """What the compiler warned of, as text."""
        return self._inner.warnings()

    @property
    def plan(self):
        """The chosen layouts, and why: the content of a ``plan.json``."""
        return json.loads(self._inner.plan())

    def save_plan(self, path):
        """Writes ``plan.json``; ``load(.., plan=path)`` then takes its layouts without a search."""
        part = f"{os.fspath(path)}.part"
        with open(part, "w", encoding="utf-8") as f:
            f.write(self._inner.plan())
        os.replace(part, path)

    def inputs(self, function):
        """Inputs of a function with their types: ``{"x": "f32[B=?B, I=64]"}``."""
        return dict(self._inner.inputs(function))

    def results(self, function):
        """Results of a function with their types, in declared order."""
        return dict(self._inner.results(function))

    def __getitem__(self, function):
        found = self._made.get(function)
        if found is None:
            if function not in self.functions:
                raise KeyError(f"there is no function `{function}`; there are: {', '.join(self.functions)}")
            found = self._made.setdefault(function, Function(self._inner, function))
        return found

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError as e:
            raise AttributeError(e.args[0]) from None

    def __dir__(self):
        return [*super().__dir__(), *self.functions]

    def __repr__(self):
        return f"<spc.Program: {', '.join(self.functions)}>"


class Function:
    """One function of a program."""

    def __init__(self, inner, name):
        self._inner, self._name = inner, name
        self._inputs, self._results = inner.inputs(name), [n for n, _ in inner.results(name)]
        self._names = [n for n, _ in self._inputs]
        self._types = {n: (t, np.dtype(_TYPES[t.split("[")[0]])) for n, t in self._inputs}
        self._takes_out = "out" not in self._types

    def __call__(self, *args, **kwargs):
        """Calls the function on arrays in declared order or by name.

        ``out`` (where no input is called so): an array for the result, or a dict of arrays by the names of results. They are
        written where they lie, so that calls ask for no memory, and are among what is returned.
        """
        out = kwargs.pop("out", None) if self._takes_out else None
        if len(args) > len(self._names):
            raise TypeError(f"{self} takes {len(self._names)} arrays, not {len(args)}")
        given = dict(zip(self._names, args))
        for name, value in kwargs.items():
            if name in given:
                raise TypeError(f"`{name}` is given twice")
            given[name] = value
        for name, value in given.items():
            declared = self._types.get(name)
            if declared is None:
                given[name] = binding.as_array(name, value)
            elif type(value) is not np.ndarray or value.dtype != declared[1]:
                given[name] = _input(name, value, *declared)
        if out is None:
            results = self._inner.call(self._name, given, {})
            return results[0][1] if len(results) == 1 else dict(results)
        places = out if isinstance(out, dict) else self._place(out)
        results = dict(self._inner.call(self._name, given, places))
        all_of = {n: places.get(n, results.get(n)) for n in self._results}
        return next(iter(all_of.values())) if len(all_of) == 1 else all_of

    def _place(self, out):
        if len(self._results) != 1:
            raise TypeError(f"{self._name} has several results: `out` is a dict of arrays by their names, {', '.join(self._results)}")
        return {self._results[0]: out}

    def __repr__(self):
        return f"{self._name}({', '.join(f'{n}: {t}' for n, t in self._inputs)})"


def _input(name, value, declared, want):
    """An array of the declared element type. Another width of the same kind is converted; what does not fit is refused."""
    array = binding.as_array(name, value)
    if array.dtype == want:
        return array
    if not np.can_cast(array.dtype, want, "same_kind"):
        raise TypeError(f"`{name}` is an array of {array.dtype}; the program declares {declared}")
    if want == np.int32 and array.size and (array.max() > 2**31 - 1 or array.min() < -(2**31)):
        raise OverflowError(f"`{name}` has numbers that an int32 cannot hold")
    return array.astype(want)
