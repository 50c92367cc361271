"""Runs: the arrays and the memory between steps."""

import os
import tempfile

from . import binding


class Run:
    """What all runs have."""

    def __init__(self, inner, params, steps):
        self._inner, self._params = inner, params
        self.steps, self.done, self.observed = steps, 0, []
        self._state = inner.start(self.arrays())
        self._touched()

    @property
    def interpreted(self):
        """Why steps run in the slow reference interpreter; None: they are compiled."""
        return self._inner.interpreted()

    def arrays(self):
        """The parameters as numpy arrays, without a copy."""
        return {n: binding.as_array(n, p) for n, p in self._params.items()}

    def state_dict(self):
        return {"step": self.done, "memory": self._inner.save(self._state)}

    def load_state_dict(self, state):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "state.safetensors")
            with open(path, "wb") as f:
                f.write(state["memory"])
            self._state = self._inner.load(path)
        self.done = state["step"]

    def _touched(self):
        """Tells autograd that parameters have changed."""
        tensors = [p for p in self._params.values() if hasattr(p, "detach")]
        if tensors:
            import torch

            torch.autograd.graph.increment_version(tensors)
