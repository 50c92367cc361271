"""Plans beside an optimiser of torch: one hook before each of its steps, and one after."""

from . import binding
from .run import Run


def moments_of(optimizer):
    """How many tensors of a parameter's shape the optimiser keeps for it."""
    d = optimizer.defaults
    if "betas" in d:
        return 3 if d.get("amsgrad") else 2
    if "momentum" in d and "alpha" not in d:
        return 1 if d["momentum"] else 0
    name = type(optimizer).__name__
    raise ValueError(f"how many moments {name} keeps is not known: give `moments=`, as many as are of a parameter's shape")


def square_of(optimizer):
    """beta2 and eps of Adam and AdamW, in whose metric proxes are taken; an empty dict for others."""
    if type(optimizer).__name__ not in ("Adam", "AdamW") or optimizer.defaults.get("amsgrad"):
        return {}
    settings = {(float(g["betas"][1]), float(g["eps"])) for g in optimizer.param_groups}
    if len(settings) > 1:
        raise ValueError(f"the optimiser has several beta2 or eps: {sorted(settings)}")
    beta2, eps = settings.pop()
    return {"beta2": beta2, "eps": eps}


class Attached(Run):
    """A run around an optimiser."""

    def __init__(self, inner, params, ties, optimizer, steps, moments):
        held = {id(p) for g in optimizer.param_groups for p in g["params"]}
        strange = [n for n, p in params.items() if id(p) not in held]
        if strange:
            raise ValueError(f"the optimiser does not hold these parameters: {', '.join(strange)}")
        super().__init__(inner, params, ties, steps)
        self._optimizer, self._moments = optimizer, moments
        self._mapped = {n: p.detach().clone() for n, p in params.items() if inner.maps_gradient(n)}
        self._raw = {}
        self._hooks = [optimizer.register_step_pre_hook(self._before), optimizer.register_step_post_hook(self._after)]

    def detach(self):
        for h in self._hooks:
            h.remove()
        self._hooks = []

    def _rates(self):
        """The rate of each parameter, from the group that holds it."""
        of = {id(p): float(g["lr"]) for g in self._optimizer.param_groups for p in g["params"]}
        return {n: of[id(p)] for n, p in self._params.items()}

    def _before(self, optimizer, args, kwargs):
        grads = {n: p.grad.contiguous() for n, p in self._params.items() if p.grad is not None}
        arrays = {n: binding.lent(g) for n, g in grads.items()}
        mapped = {n: binding.lent(m) for n, m in self._mapped.items() if n in grads}
        self._inner.before(self.done, self.arrays(), arrays, mapped, self._state)
        self._raw = grads
        for n in mapped:
            self._params[n].grad = self._mapped[n]
        self._touched()

    def _after(self, optimizer, args, kwargs):
        raw, self._raw = self._raw, {}
        for n, g in raw.items():
            self._params[n].grad = g
        arrays = {n: binding.lent(g) for n, g in raw.items()}
        self.observed = self._inner.after(
            self.done, self.arrays(), arrays, self._moments_now(), self._rates(), self._state
        )
        self._stepped()

    def _moments_now(self):
        out = [{} for _ in range(self._moments)]
        for n, p in self._params.items():
            state = self._optimizer.state.get(p, {})
            first = [k for k in ("exp_avg", "exp_avg_sq") if k in state]
            list_ = [state[k] for k in [*first, *(k for k in state if k not in first and k != "step")]]
            list_ = [v for v in list_ if getattr(v, "shape", None) == p.shape and v.dtype == p.dtype]
            if list_ and len(list_) != self._moments:
                raise ValueError(f"the optimiser keeps {len(list_)} tensors of the shape of `{n}`, not {self._moments}")
            for k, v in enumerate(list_):
                out[k][n] = binding.lent(v)
        return out
