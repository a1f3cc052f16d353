"""Recent runs of MCP tools, stored for their reports."""

import secrets
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple

from moa_graph.graph.builder import MoAGraph
from moa_graph.models.pricing import Prices
from moa_graph.run_report.report import report

MAX_KEPT_RUNS = 32


class KeptRun(NamedTuple):
    """The data of a report."""

    values: Mapping[str, Any]
    builder: MoAGraph
    prices: Prices

    def write_report(self) -> str:
        """Return the report as an HTML page."""
        return report(self.values, self.builder, prices=self.prices)


class KeptRuns:
    """The last runs; anybody with a run's id may read it."""

    def __init__(self) -> None:
        self._runs = OrderedDict[str, KeptRun]()

    def keep(self, run: KeptRun) -> str:
        """Store a run, and return its id; the oldest one is deleted if there are too many."""
        name = secrets.token_hex(16)
        self._runs[name] = run
        if len(self._runs) > MAX_KEPT_RUNS:
            self._runs.popitem(last=False)
        return name

    def find(self, name: str) -> KeptRun | None:
        """Return a run by its id."""
        return self._runs.get(name)
