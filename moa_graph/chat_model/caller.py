"""Config, context and store of the caller, passed to the graph of a chat model call."""

from copy import copy
from dataclasses import dataclass, field
from typing import Any, Self

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config, set_config_context
from langgraph.runtime import Runtime, get_runtime
from langgraph.store.base import BaseStore

from moa_graph.chat_model.call_group import CALL_GROUP, CallGroup
from moa_graph.graph.builder import CompiledMoAGraph
from moa_graph.redaction import find_keys, redact

_CALLERS_OWN = {"checkpoint_id", "checkpoint_map", "checkpoint_ns"}  # keys of the outer graph

_IDS = {"run_id", "thread_id"}

_IDS_OF_A_RUN = {"langgraph_request_id", "run_id"}  # a turn with an interrupt has several

PROPOSAL_SCOPE = "proposal_scope"
"""Key in `configurable` of the owner of the proposals that a call stores or finds. If one model
serves several people, give each a different value, so that nobody receives another's proposals."""


@dataclass(frozen=True)
class CallerScope:
    """Config values of the caller, and the context and store of the graph around the call."""

    config: RunnableConfig = field(default_factory=RunnableConfig)
    context: Any = None
    store: BaseStore | None = None
    call_group: CallGroup | None = None
    """The group of calls that shares one set of proposals."""

    @classmethod
    def read(cls, config: RunnableConfig | None = None) -> Self:
        """Read the scope from the config of a call, or from that of the running node."""
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
        context, store = (runtime.context, runtime.store) if runtime else (None, None)
        return cls(passed_on, context, store, config["configurable"].get(CALL_GROUP))

    @property
    def shaping_values(self) -> dict[str, str]:
        """Config values that may influence an answer, without keys."""
        values = self.config.get("configurable", {})
        return {k: redact(str(v), *find_keys(values)) for k, v in values.items() if k not in _IDS}

    @property
    def proposal_scope(self) -> str:
        """Values that separate stored proposals of different callers."""
        return str(self.config.get("configurable", {}).get(PROPOSAL_SCOPE, ""))

    @property
    def conversation_scope(self) -> dict[str, str]:
        """Values that separate conversations, and that may influence proposals."""
        values = self.config.get("configurable", {})
        return {k: str(v) for k, v in values.items() if k not in _IDS_OF_A_RUN}

    def with_store(self, graph: CompiledMoAGraph) -> CompiledMoAGraph:
        """Copy a graph so that its agents can use the caller's store."""
        if self.store is None:
            return graph
        graph = copy(graph)
        graph.store = self.store
        return graph


def _current_runtime() -> Runtime[Any] | None:
    return get_runtime()
