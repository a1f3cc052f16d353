"""What a chat model runs: the graph of its options, and of what a call is given."""

import json
import logging
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

from langchain_core.language_models import BaseChatModel, ModelProfile
from langchain_core.runnables.base import RunnableBindingBase

from moa_graph.chat_model.kept_panels import KeptPanels
from moa_graph.chat_model.panel_store import PanelStore
from moa_graph.chat_model.profile import build_profile
from moa_graph.chat_model.shared_panels import SharedPanels
from moa_graph.graph.answer_cache import CacheBackend, identify_request
from moa_graph.graph.builder import (
    CompiledMoAGraph,
    GraphSpec,
    MoAGraph,
    create_moa,
)
from moa_graph.graph.kept_proposals import compile_kept_proposals_graph
from moa_graph.graph.options import SharedOptions
from moa_graph.graph.spec import AgentNode
from moa_graph.models.adapt import bind_call_options, supports_response_format
from moa_graph.models.agent import Agent
from moa_graph.models.configurable import default_model, is_configurable
from moa_graph.prompting.tool_text import describe_tools_in_text, tell_aggregator_about_tools
from moa_graph.redaction import redact

_MAX_COMPILED = 16  # graphs for the options of calls; an agent has the same in all its calls

_log = logging.getLogger(__name__)


class CompiledGraphCache:
    """What is built of the options of `create_moa`."""

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        self._name, self._options = name, options
        self._spec = create_moa(**options).spec
        self._kept_panels = KeptPanels()
        self._compiled: dict[str, CompiledMoAGraph] = {}

    def was_built_from(self, name: str, options: Mapping[str, Any]) -> bool:
        """Whether it was built of these very values."""
        same = (value is self._options[key] for key, value in options.items())
        return name == self._name and all(same)

    def __reduce__(self) -> Any:
        return type(None), ()  # a model that is copied or unpickled builds its own

    def graph_for_call(
        self, options: Mapping[str, Any], *, reuses_proposals: bool = False
    ) -> CompiledMoAGraph:
        """Give the graph whose aggregator is called with options.

        Args:
            options: The options.
            reuses_proposals: Whether the graph is given proposals, and asks for none.

        Raises:
            ValueError: If they are tools for one that selects.
            NotImplementedError: If the aggregator or a fallback takes none.
        """
        if options.get("tools") and self._spec.aggregation == "select":
            raise ValueError(
                "`tools`: with `aggregation`='select' the aggregator picks a proposal, and calls "
                "no tools; expected a mixture with `aggregation`='synthesize'"
            )
        try:
            key = json.dumps([options, reuses_proposals], sort_keys=True)
        except (TypeError, ValueError, RecursionError):  # an object may change: no graph is kept
            return self._compile_graph(options, reuses_proposals=reuses_proposals)
        if (graph := self._compiled.get(key)) is None:
            graph = self._compile_graph(deepcopy(options), reuses_proposals=reuses_proposals)
            if len(self._compiled) >= _MAX_COMPILED:
                self._compiled.clear()
            self._compiled[key] = graph
        return graph

    def panel_store(self, cache: CacheBackend | None) -> PanelStore:
        """Give where the proposals of turns are kept.

        Args:
            cache: Where processes share them, if they do.
        """
        mixture = self._proposers_identity if cache is not None else None
        shared = SharedPanels(cache, mixture) if cache is not None and mixture else None
        return PanelStore(self._kept_panels, shared)

    @property
    def layer_count(self) -> int:
        """How many layers of proposers there are."""
        return len(self._spec.layers)

    def check_structured_output_method(self, method: str) -> None:
        """Check that all who may write the answer can be held to a `response_format`.

        Raises:
            ValueError: If one cannot.
        """
        if self._spec.aggregation == "select":
            raise ValueError(
                f"`method`={method!r}: with `aggregation`='select' the aggregator picks a "
                "proposal; expected a mixture with `aggregation`='synthesize'"
            )
        for agent_node in self._spec.aggregators:
            model = agent_node.agent.model if self._options["lazy"] else agent_node.model
            if not supports_response_format(model):
                raise ValueError(
                    f"`method`={method!r}: `{agent_node.name}` {agent_node.agent.label!r} "
                    f"is not known to take "
                    "a `response_format`, as models of 'openai:' and 'together:' do; expected "
                    "'function_calling'"
                )

    @property
    def profile(self) -> ModelProfile | None:
        """What is known of it as a model, without building one that is not."""
        return build_profile(self._spec, defer_model_init=self._options["lazy"])

    @property
    def tokenizer(self) -> Callable[[str], list[int]] | None:
        """What the aggregator was given as `custom_get_token_ids`: others may be downloaded."""
        model = self._spec.aggregators[0].agent.model
        while isinstance(model, RunnableBindingBase):
            model = model.bound
        return getattr(model, "custom_get_token_ids", None)

    @property
    def labels(self) -> dict[str, Any]:
        """What its models are called."""
        layers = [
            [agent_node.agent.label for agent_node in layer_spec.agent_nodes]
            for layer_spec in self._spec.layers
        ]
        return {"layers": layers, "aggregator": self._spec.aggregators[0].agent.label}

    @property
    def identity(self) -> dict[str, Any]:
        """What tells it from others in a trace and in a cache; no keys."""
        layer_specs, (aggregator, *fallbacks) = self._spec.layers, self._spec.aggregators
        shared_options = {
            key: value
            for key, value in self._options.items()
            if key not in {"layers", "aggregator", "fallbacks", "lazy"}
        }
        return {
            "layers": [
                {each.name: _identify_agent(each.agent) for each in layer_spec.agent_nodes}
                for layer_spec in layer_specs
            ],
            "aggregator": _identify_agent(aggregator.agent),
            "fallbacks": [_identify_agent(agent_node.agent) for agent_node in fallbacks],
            **shared_options,
            "prompt": self._spec.layout.prompt,
        }

    @property
    def is_configurable(self) -> bool:
        """Whether the config of a call completes one of its models."""
        layers = (each for layer_spec in self._spec.layers for each in layer_spec.agent_nodes)
        return any(is_configurable(each.agent.model) for each in (*layers, *self._spec.aggregators))

    @cached_property
    def _proposers_identity(self) -> Any:
        """What tells proposals from those of other mixtures in any process; `None` if unknown."""
        agent_nodes = [each for layer_spec in self._spec.layers for each in layer_spec.agent_nodes]
        requests = {each.node: [identify_request(each), each.agent.system] for each in agent_nodes}
        if unknown := [node for node, (request, _) in requests.items() if request is None]:
            _log.warning(
                "`proposal_cache`: %s cannot be described, so that proposals are kept in this "
                "process alone; expected a 'provider:model' or a chat model of LangChain's",
                ", ".join(map(repr, unknown)),
            )
            return None
        return [requests, {name: self._options[name] for name in SharedOptions.model_fields}]

    def _compile_graph(
        self, options: Mapping[str, Any], *, reuses_proposals: bool
    ) -> CompiledMoAGraph:
        spec = _spec_for_call(self._spec, options)
        if reuses_proposals:
            return compile_kept_proposals_graph(spec, self._name)
        return MoAGraph(spec).compile(checkpointer=False, name=self._name)


def _spec_for_call(spec: GraphSpec, options: Mapping[str, Any]) -> GraphSpec:
    """Copy a specification: its aggregators are called with options, proposers read of tools."""
    view = partial(describe_tools_in_text, tools=options.get("tools", ()))
    layer_specs = [
        replace(
            layer_spec,
            agent_nodes=[replace(each, transform_messages=view) for each in layer_spec.agent_nodes],
        )
        for layer_spec in spec.layers
    ]
    if not options:
        return replace(spec, layers=layer_specs)
    models = {
        agent_node.node: _bind_options(agent_node, options) for agent_node in spec.aggregators
    }
    update: dict[str, Any] = {"build_models": lambda: models}
    if options.get("tools"):
        update["transform_messages"] = tell_aggregator_about_tools
    return replace(
        spec, layers=layer_specs, aggregators=[replace(each, **update) for each in spec.aggregators]
    )


def _bind_options(agent_node: AgentNode, options: Mapping[str, Any]) -> Any:
    try:
        return bind_call_options(agent_node.model, options)
    except NotImplementedError as error:
        names = ", ".join(f"`{name}`" for name in options)
        raise NotImplementedError(
            f"`{agent_node.name}` {agent_node.agent.label!r} cannot be called with {names}: {error}"
        ) from None


def _identify_agent(agent: Agent) -> dict[str, Any]:
    options = agent.model_dump(exclude={"model"}, exclude_defaults=True)
    if isinstance(agent.model, str):
        return {"model": agent.model, **options}
    model = default_model(agent.model) if is_configurable(agent.model) else agent.model
    text = model.asdict() if isinstance(model, BaseChatModel) else model
    return {"model": agent.label, "is": redact(str(text)), **options}
