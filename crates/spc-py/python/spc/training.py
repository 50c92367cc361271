"""Training under the constraints and penalties of a program."""

import os

import numpy as np

from . import _spc, attach, binding
from .run import Run


def compile(source=None, *, text=None, bind=None, names=None, **options):
    """Checks a program for training; arguments as of ``load``.

    Raises Error with ``codes`` where spc refuses the program.
    """
    checked = _spc.compile(None if source is None else os.fspath(source), text, options)
    return Plan(checked, bind, names)


class Plan:
    """What a program asks of its weights during training, and at its end."""

    def __init__(self, checked, source=None, names=None):
        self._checked, self._source, self._names = checked, source, names
        self._run, self._projections = None, {}

    @property
    def weights(self):
        """Shapes of the weights by name."""
        return {n: tuple(s) for n, s in self._checked.weights()}

    @property
    def rules(self):
        """What each ``require`` and ``penalize`` does during training, a line each."""
        return self._checked.rules()

    def optimizer(self, params=None, name="adamw", *, lr, steps, **settings):
        """Begins a run of ``steps`` steps.

        params: float32 arrays by name, or a torch module on the CPU; what ``compile`` was given with ``bind`` if left out.
            They are changed in place, and always hold what the program reads: weights that it has masked are zeros.
        name: ``"sgd"`` (``momentum``, ``weight_decay``) or ``"adamw"`` (``beta1``, ``beta2``, ``eps``, ``weight_decay``);
            decay is decoupled. Update modules with hooks on moments need an optimiser that spc runs, as this one is.
        lr: the rate of a step: a number, a dict with the rate of each parameter, or a function of the step that gives either.
            Parameters that a rule treats together need the same one (SP0006).
        """
        given = binding.tensors_of(self._source if params is None else params)
        found, ties = self._all(given)
        inner = self._checked.update_plan({"name": name, **settings}, steps, ties)
        self._run = Optimizer(inner, found, ties, lr, steps)
        return self._run

    def project(self, params=None):
        """Projects weights on every ``require``, in place and without a run: one-shot pruning.

        params: as of ``optimizer``. They become what a run that does not move them would deploy.

        Raises Error (SP0006) where a constraint ranks by gradients, (SP0406) where a weight is NaN or infinite; the weights are
        then partly projected.
        """
        given = binding.tensors_of(self._source if params is None else params)
        found, ties = self._all(given)
        key = tuple(ties)
        if key not in self._projections:
            self._projections[key] = self._checked.update_plan({"name": "sgd"}, 1, ties)
        self._projections[key].project({n: binding.lent(p) for n, p in found.items()})
        binding.touched(found.values())

    def attach(self, optimizer, model=None, *, steps, moments=None):
        """Hooks the rules into an optimiser of torch, for a run of ``steps`` of its steps.

        model: a torch module on the CPU; what ``compile`` was given with ``bind`` if left out. Its parameters keep their names.
            Before each step of the optimiser they become the dense weights, and gradients are mapped; after it they
            hold what the program reads, masked weights as zeros, and the optimiser's moments of those are cleared.
        moments: tensors of a parameter's shape that the optimiser keeps for it; known for SGD and the Adam family.

        Raises Error (SP0006) where an update module takes steps of its own: such a plan needs ``optimizer``.
        """
        given = binding.tensors_of(self._source if model is None else model)
        found, ties = self._all(given)
        if moments is None:
            moments = attach.moments_of(optimizer)
        square = attach.square_of(optimizer) if moments == 2 else {}
        inner = self._checked.update_plan({"name": "outside", "moments": moments, **square}, steps, ties)
        self._run = attach.Attached(inner, found, ties, optimizer, steps, moments)
        return self._run

    def detach(self):
        """Takes the hooks of ``attach`` out again."""
        self._running().detach()

    def _all(self, given):
        found = binding.match(list(self.weights), given, self._names)
        missing = [n for n in self.weights if n not in found]
        if missing:
            raise KeyError(f"these weights have no parameter: {', '.join(missing)}")
        ties = binding.ties_of(found)
        for other, _ in ties:
            del found[other]
        return found, ties

    def _running(self):
        if self._run is None:
            raise RuntimeError("no run has begun: call `optimizer` or `attach` first")
        return self._run

    def state_dict(self):
        """The run's memory, to be stored beside the parameters: masks, moments, dense weights behind masks."""
        return self._running().state_dict()

    def load_state_dict(self, state):
        """Goes on from what ``state_dict`` gave; the parameters must be those of the same moment."""
        self._running().load_state_dict(state)

    def export(self, path):
        """Writes the weights of a finished run as safetensors, with the program's names. Every constraint holds in them."""
        run = self._running()
        if run.done < run.steps:
            raise RuntimeError(f"the run has taken {run.done} of its {run.steps} steps")
        _spc.write_weights(os.fspath(path), run.by_all_names())

    def report(self):
        """Density of each weight as it is now, and what observers saw in the last step."""
        run = self._running()
        density = {n: float(np.count_nonzero(a)) / max(a.size, 1) for n, a in run.numpy().items()}
        return {"step": run.done, "steps": run.steps, "density": density, "observed": run.observed}


class Optimizer(Run):
    """A run. ``step()`` reads the ``grad`` of torch parameters; for numpy arrays gradients are given: ``step(grads)``."""

    def __init__(self, inner, params, ties, lr, steps):
        super().__init__(inner, params, ties, steps)
        self._lr = lr

    def step(self, grads=None):
        """Takes one step. A parameter without a gradient stays as it is, unless a rule acts on it."""
        if grads is None:
            grads = {n: p.grad for n, p in self._params.items() if getattr(p, "grad", None) is not None}
            if not grads:
                raise TypeError("there are no gradients: call `backward`, or pass arrays by name")
        for name in grads:
            if name not in self._params:
                tied = [n for o, n in self._ties if o == name]
                raise KeyError(f"`{name}` is the same array as `{tied[0]}`" if tied else f"there is no parameter `{name}`")
        lr = self._lr(self.done) if callable(self._lr) else self._lr
        rates = dict(lr) if isinstance(lr, dict) else dict.fromkeys(self._params, lr)
        arrays = {n: binding.as_gradient(g) for n, g in grads.items()}
        self.observed = self._inner.update(self.done, self.arrays(), arrays, rates, self._state)
        self._stepped()
        return self.observed

    def zero_grad(self):
        """Forgets the gradients of torch parameters."""
        for p in self._params.values():
            if hasattr(p, "grad"):
                p.grad = None
