"""What the caller of a chat model gives beside messages, for the graph that the call runs."""

from copy import copy
from dataclasses import dataclass, field
from typing import Any, Self

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config, set_config_context
from langgraph.runtime import Runtime, get_runtime
from langgraph.store.base import BaseStore

from moa_graph.graph.builder import CompiledMoAGraph
from moa_graph.redaction import find_keys, redact

_CALLERS_OWN = {"checkpoint_id", "checkpoint_map", "checkpoint_ns"}  # of the graph around the call

_IDS = {"run_id", "thread_id"}

_IDS_OF_A_RUN = {"langgraph_request_id", "run_id"}  # a turn that waited for a human has several

PROPOSAL_SCOPE = "proposal_scope"
"""In `configurable`: whose the proposals are that a call keeps or finds. Where one model serves
several people who must not meet, each has a value of his own."""


@dataclass(frozen=True)
class CallerScope:
    """The values of a caller's config, and the context and store of the graph it runs in."""

    config: RunnableConfig = field(default_factory=RunnableConfig)
    context: Any = None
    store: BaseStore | None = None

    @classmethod
    def read(cls, config: RunnableConfig | None = None) -> Self:
        """Read it from the config of a call, or from that of the node that is running."""
        config = ensure_config(config)
        values = {
            key: value
            for key, value in config["configurable"].items()
            if key not in _CALLERS_OWN and not key.startswith("__")
        }
        passed_on = RunnableConfig(configurable=values)
        if (max_concurrency := config.get("max_concurrency")) is not None:
            passed_on["max_concurrency"] = max_concurrency
        with set_config_context(config) as scope:
            runtime = scope.run(_current_runtime)
        return cls(passed_on, runtime.context, runtime.store) if runtime else cls(passed_on)

    @property
    def shaping_values(self) -> dict[str, str]:
        """The values of the config that may shape an answer, keys aside."""
        values = self.config.get("configurable", {})
        return {k: redact(str(v), *find_keys(values)) for k, v in values.items() if k not in _IDS}

    @property
    def proposal_scope(self) -> str:
        """Whose proposals are kept and found."""
        return str(self.config.get("configurable", {}).get(PROPOSAL_SCOPE, ""))

    @property
    def conversation_scope(self) -> dict[str, str]:
        """Where a conversation is held, and what may shape proposals to it."""
        values = self.config.get("configurable", {})
        return {k: str(v) for k, v in values.items() if k not in _IDS_OF_A_RUN}

    def with_store(self, graph: CompiledMoAGraph) -> CompiledMoAGraph:
        """Copy a graph so that its agents find the caller's store."""
        if self.store is None:
            return graph
        graph = copy(graph)
        graph.store = self.store
        return graph


def _current_runtime() -> Runtime[Any] | None:
    return get_runtime()
