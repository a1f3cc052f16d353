"""Partial texts of agents when their run ended: a store of runs keeps only complete answers."""

from collections import OrderedDict
from collections.abc import Mapping
from time import time
from typing import NamedTuple

from moa_graph.runs.live import AgentProgress, RunProgress

MAX_STOPPED_RUNS = 32  # maximum number of runs with stored texts


class StoppedRun(NamedTuple):
    """The partial texts of a stopped or failed run."""

    at: float
    """End of the run in seconds since 1970."""
    agents: Mapping[str, AgentProgress]
    """Texts, keyed by node."""

    def show_in(self, progress: RunProgress) -> None:
        """Set the texts of agents without an answer."""
        for node, stopped in self.agents.items():
            agent = progress.agents.get(node)
            if agent and agent.status == "waiting":
                agent.take_stopped(stopped.text, stopped.called_at, stopped.seconds)
            elif agent and agent.error and not agent.text:
                agent.replace_text(stopped.text)


class StoppedTexts:
    """Partial texts of runs without an answer, in memory, until the runs continue."""

    def __init__(self) -> None:
        self._runs = OrderedDict[str, StoppedRun]()

    def keep(self, thread: str, progress: RunProgress) -> None:
        """Store the partial texts of a run that has ended."""
        agents = {
            node: each
            for node, each in progress.agents.items()
            if each.text and (each.is_stopped or each.error)
        }
        if not agents:
            return
        self._runs[thread] = StoppedRun(time(), agents)
        if len(self._runs) > MAX_STOPPED_RUNS:
            self._runs.popitem(last=False)

    def find(self, thread: str, since: float) -> StoppedRun | None:
        """Return the texts of a run that ended after the last write of the thread."""
        run = self._runs.get(thread)
        return run if run and run.at >= since else None

    def forget(self, thread: str) -> None:
        """Delete the texts of a thread."""
        self._runs.pop(thread, None)
