"""The scorer of a Python function."""

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any

from moa_graph.evals.scorers.protocol import Score, Scorer


class FunctionScorer(Scorer):
    """Calls `function(answer, row)`, which returns `True`, `False` or points from 0 to 1.

    It is called for one answer at a time, in a separate thread.
    """

    required_keys: Sequence[str] = ()
    reads_answers = False

    def __init__(self, name: str, function: Callable[[str, Mapping[str, Any]], Any]) -> None:
        self.name, self._function, self._lock = name, function, Lock()

    def score(self, answer: str, row: Mapping[str, Any]) -> Score:
        """Call the function.

        Raises:
            ValueError: If it returns another value, or raises.
        """
        try:
            with self._lock:
                points = self._function(answer, row)
        except Exception as error:
            raise ValueError(f"scorer {self.name}: {type(error).__name__}: {error}") from error
        if isinstance(points, Score):
            return points
        if not isinstance(points, bool | int | float) or not 0 <= points <= 1:
            raise ValueError(
                f"scorer {self.name}: returned {points!r}; expected True, False or points from 0 "
                "to 1"
            )
        return Score(float(points))


def load_function(name: str) -> FunctionScorer:
    """Import a scorer: `module:function`, from an installed package or the current folder.

    Raises:
        ValueError: If there is none.
    """
    module_name, _, attribute = name.partition(":")
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        function = getattr(import_module(module_name), attribute)
    except Exception as error:
        raise ValueError(f"scorer {name!r}: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(folder)
    if not callable(function):
        raise ValueError(f"scorer {name!r}: expected a function, got {function!r}")
    return FunctionScorer(name, function)
