"""Compiled graphs of a chat model, cached by its options and the options of a call."""

import json
import logging
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

from langchain_core.language_models import BaseChatModel, ModelProfile
from langchain_core.runnables.base import RunnableBindingBase

from moa_graph.chat_model.local_proposals import LocalProposals
from moa_graph.chat_model.profile import build_profile
from moa_graph.chat_model.proposal_store import ProposalStore
from moa_graph.chat_model.shared_proposals import SharedProposals
from moa_graph.graph.aggregator_graph import compile_aggregator_graph
from moa_graph.graph.answer_cache import CacheBackend, identify_request
from moa_graph.graph.builder import CompiledMoAGraph, MoAGraph, create_moa
from moa_graph.graph.graph_spec import GraphSpec
from moa_graph.graph.options import LATER_OPTIONS, SharedOptions
from moa_graph.graph.spec import AgentNode, with_view
from moa_graph.models.adapt import bind_call_options, supports_response_format
from moa_graph.models.agent import Agent
from moa_graph.models.configurable import default_model, is_configurable
from moa_graph.prompting.tool_text import describe_tools_in_text, tell_aggregator_about_tools
from moa_graph.redaction import redact

_MAX_COMPILED = 16  # graphs by call options; all calls of an agent have the same options

_log = logging.getLogger(__name__)


class CompiledGraphCache:
    """Objects built from the options of `create_moa`: graphs, profile, proposal store."""

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        self._name, self._options = name, options
        self._spec = create_moa(**options).spec
        self._local_proposals = LocalProposals()
        self._compiled: dict[str, CompiledMoAGraph] = {}

    def was_built_from(self, name: str, options: Mapping[str, Any]) -> bool:
        """Return whether it was built from exactly these values."""
        same = (value is self._options[key] for key, value in options.items())
        return name == self._name and all(same)

    def __reduce__(self) -> Any:
        return type(None), ()  # a copied or unpickled model builds its own

    def graph_for_call(
        self, options: Mapping[str, Any], *, reuses_proposals: bool = False
    ) -> CompiledMoAGraph:
        """Return the graph whose aggregator is called with the options of a call.

        Args:
            options: Options of the call.
            reuses_proposals: Whether the graph receives proposals instead of calling proposers.

        Raises:
            ValueError: If the options contain tools and the mixture picks a proposal.
            NotImplementedError: If the aggregator or a fallback does not accept tools.
        """
        if options.get("tools") and self._spec.picks:
            raise ValueError(
                f"`tools`: {self._describe_pick}, and calls no tools; expected a mixture with "
                "`aggregation`='synthesize'"
            )
        try:
            key = json.dumps([options, reuses_proposals], sort_keys=True)
        except (TypeError, ValueError, RecursionError):  # an object may change: no cache
            return self._compile_graph(options, reuses_proposals=reuses_proposals)
        if (graph := self._compiled.get(key)) is None:
            graph = self._compile_graph(deepcopy(options), reuses_proposals=reuses_proposals)
            if len(self._compiled) >= _MAX_COMPILED:
                self._compiled.clear()
            self._compiled[key] = graph
        return graph

    def proposal_store(self, cache: CacheBackend | None) -> ProposalStore:
        """Return the store of the proposals of turns.

        Args:
            cache: The cache that processes share, if any.
        """
        mixture = self._proposers_identity if cache is not None else None
        shared = SharedProposals(cache, mixture) if cache is not None and mixture else None
        return ProposalStore(self._local_proposals, shared)

    @property
    def spec(self) -> GraphSpec:
        """The graph specification of a call without options."""
        return self._spec

    @property
    def picks_proposal(self) -> bool:
        """Whether the answer is one of the proposals, so that no model calls tools."""
        return self._spec.picks

    def check_structured_output_method(self, method: str) -> None:
        """Check that the aggregator and its fallbacks accept a `response_format`.

        Raises:
            ValueError: If one does not.
        """
        if self._spec.picks:
            raise ValueError(
                f"`method`={method!r}: {self._describe_pick}; expected a mixture with "
                "`aggregation`='synthesize'"
            )
        for agent_node in self._spec.writers:
            model = agent_node.agent.model if self._options["lazy"] else agent_node.model
            if not supports_response_format(model):
                raise ValueError(
                    f"`method`={method!r}: `{agent_node.name}` {agent_node.agent.label!r} "
                    f"is not known to take "
                    "a `response_format`, as models of 'openai:' and 'together:' do; expected "
                    "'function_calling'"
                )

    @property
    def _describe_pick(self) -> str:
        return f"with `aggregation`={self._spec.aggregation!r} the aggregator picks a proposal"

    @property
    def profile(self) -> ModelProfile | None:
        """The model profile, without building models whose construction is deferred."""
        return build_profile(self._spec, defer_model_init=self._options["lazy"])

    @property
    def tokenizer(self) -> Callable[[str], list[int]] | None:
        """The `custom_get_token_ids` of the aggregator; other tokenizers may need a download."""
        model = self._spec.aggregators[0].agent.model
        while isinstance(model, RunnableBindingBase):
            model = model.bound
        return getattr(model, "custom_get_token_ids", None)

    @property
    def labels(self) -> dict[str, Any]:
        """Names of the models."""
        layers = [
            [agent_node.agent.label for agent_node in layer_spec.agent_nodes]
            for layer_spec in self._spec.layers
        ]
        return {"layers": layers, "aggregator": self._spec.aggregators[0].agent.label}

    @property
    def identity(self) -> dict[str, Any]:
        """Plain values that identify the mixture in traces and caches; without keys."""
        layer_specs, (aggregator, *fallbacks) = self._spec.layers, self._spec.aggregators
        shared_options = {
            key: value
            for key, value in self._options.items()
            if key not in {"layers", "aggregator", "fallbacks", "voters", "analysis", "lazy"}
            # Entries cached before these options existed stay valid.
            and not (key in LATER_OPTIONS and value == SharedOptions.model_fields[key].default)
        }
        return {
            "layers": [
                {each.name: _identify_agent(each.agent) for each in layer_spec.agent_nodes}
                for layer_spec in layer_specs
            ],
            "aggregator": _identify_agent(aggregator.agent),
            "fallbacks": [_identify_agent(agent_node.agent) for agent_node in fallbacks],
            **self._helpers_identity,
            **shared_options,
            "prompt": self._spec.layout.prompt,
        }

    @property
    def _helpers_identity(self) -> dict[str, Any]:
        """Identify the agents that are called between the last layer and the aggregator."""
        rows = {
            "voters": self._spec.vote and self._spec.vote.layer_spec,
            "analysis": self._spec.analyst,
        }
        return {
            name: {each.name: _identify_agent(each.agent) for each in row.agent_nodes}
            for name, row in rows.items()
            if row and self._options.get(name)
        }

    @property
    def is_configurable(self) -> bool:
        """Whether the config of a call sets fields of one of the models."""
        layers = (each for layer_spec in self._spec.layers for each in layer_spec.agent_nodes)
        return any(is_configurable(each.agent.model) for each in (*layers, *self._spec.writers))

    @cached_property
    def _proposers_identity(self) -> Any:
        """Identify the proposers in any process; `None` if an agent has no stable description."""
        agent_nodes = [each for layer_spec in self._spec.layers for each in layer_spec.agent_nodes]
        agent_nodes += [each for window in self._spec.windows for each in window.writers]
        agent_nodes += self._spec.vote.layer_spec.agent_nodes if self._spec.vote else ()
        agent_nodes += self._spec.analyst.agent_nodes if self._spec.analyst else ()
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
            return compile_aggregator_graph(spec, self._name)
        return MoAGraph(spec).compile(checkpointer=False, name=self._name)


def _spec_for_call(spec: GraphSpec, options: Mapping[str, Any]) -> GraphSpec:
    """Copy the specification: aggregators get the call options, proposers the tool text."""
    view = partial(describe_tools_in_text, tools=options.get("tools", ()))
    layer_specs = with_view(spec.layers, view)
    windows = [
        replace(window, writers=[replace(each, transform_messages=view) for each in window.writers])
        for window in spec.windows
    ]
    vote = spec.vote and replace(spec.vote, layer_spec=with_view([spec.vote.layer_spec], view)[0])
    analyst = spec.analyst and with_view([spec.analyst], view)[0]
    if not options:
        return replace(spec, layers=layer_specs, windows=windows, vote=vote, analyst=analyst)
    models = {agent_node.node: _bind_options(agent_node, options) for agent_node in spec.writers}
    update: dict[str, Any] = {"build_models": lambda: models}
    if options.get("tools"):
        update["transform_messages"] = tell_aggregator_about_tools
    return replace(
        spec,
        layers=layer_specs,
        windows=windows,
        vote=vote,
        analyst=analyst,
        aggregators=[replace(each, **update) for each in spec.aggregators],
        routes={name: replace(each, **update) for name, each in spec.routes.items()},
    )


def _bind_options(agent_node: AgentNode, options: Mapping[str, Any]) -> Any:
    try:
        return bind_call_options(agent_node.model, options)
    except NotImplementedError as error:
        names = ", ".join(f"`{name}`" for name in options if not name.startswith("ls_"))
        remedy = "; expected a model that calls tools" if "tools" in options else ""
        raise NotImplementedError(
            f"`{agent_node.name}` {agent_node.agent.label!r} cannot be called with {names}: {error}"
            f"{remedy}"
        ) from None


def _identify_agent(agent: Agent) -> dict[str, Any]:
    options = agent.model_dump(exclude={"model"}, exclude_defaults=True)
    if isinstance(agent.model, str):
        return {"model": agent.model, **options}
    model = default_model(agent.model) if is_configurable(agent.model) else agent.model
    text = model.asdict() if isinstance(model, BaseChatModel) else model
    return {"model": agent.label, "is": redact(str(text)), **options}
