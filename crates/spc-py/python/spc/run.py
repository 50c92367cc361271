"""Runs: the arrays and the memory between steps."""

import os
import tempfile

import numpy as np

from . import binding


class Run:
    """What all runs have."""

    def __init__(self, inner, params, ties, steps):
        self._inner, self._params, self._ties = inner, params, ties
        self.steps, self.done, self.observed = steps, 0, []
        self._state = inner.start(self.arrays())
        self._log = None
        self._touched()

    def log(self, path, every=1):
        """Writes a line of JSON to a new file now, and after every so many steps; ``spc plot`` draws them."""
        if every < 1:
            raise ValueError("`every` is a number of steps, at least 1")
        with open(path, "w", encoding="utf-8"):
            pass
        self._log = (path, every, self._inner.log(self.arrays()))
        self._write_line()

    def _stepped(self):
        """After each step."""
        self.done += 1
        self._touched()
        if self._log is not None and (self.done % self._log[1] == 0 or self.done == self.steps):
            self._write_line()

    def _write_line(self):
        path, _, log = self._log
        line = self._inner.log_line(log, self.arrays(), self._state, self.observed)
        with open(path, "a", encoding="utf-8") as f:
            f.write(line + "\n")

    @property
    def interpreted(self):
        """Why steps run in the slow reference interpreter; None: they are compiled."""
        return self._inner.interpreted()

    def arrays(self):
        """The parameters, to be changed in place."""
        return {n: binding.lent(p) for n, p in self._params.items()}

    def by_all_names(self):
        """The parameters, those of several names under each."""
        arrays = self.arrays()
        return {**arrays, **{other: arrays[name] for other, name in self._ties}}

    def numpy(self):
        """The parameters as numpy arrays, those of several names under each; without a copy."""
        return {n: np.from_dlpack(a) if not isinstance(a, np.ndarray) else a for n, a in self.by_all_names().items()}

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
        binding.touched(self._params.values())
