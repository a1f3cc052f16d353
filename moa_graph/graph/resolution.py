"""Resolve the options of `create_moa` to agents, layer policies and a prompt layout."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, get_args

from moa_graph.graph.agent_resolution import (
    resolve_agents,
    resolve_routes,
    resolve_voters,
    set_selectors,
    to_agent,
)
from moa_graph.graph.analysis import check_analysis, set_up_analysis
from moa_graph.graph.answer_cache import check_policy
from moa_graph.graph.depth_policy import DepthPolicy
from moa_graph.graph.early_stop import make_decide
from moa_graph.graph.graph_spec import GraphSpec
from moa_graph.graph.option_checks import check_can_vote, check_finalists, check_has_vote
from moa_graph.graph.options import (
    Aggregation,
    DepthOptions,
    GraphOptions,
    Layer,
    LayerOptions,
)
from moa_graph.graph.policy import policies_for_layers
from moa_graph.graph.reference_selection import check_reader_options
from moa_graph.graph.router import Router, name_decider
from moa_graph.graph.run_budget import RunBudget, check_max_cost
from moa_graph.graph.spec import LayerSpec
from moa_graph.graph.voting import FinalistSelector, set_up_vote
from moa_graph.graph.windows import check_window_size, split_into_windows
from moa_graph.models.agent import Agent, Model
from moa_graph.models.pricing import check_prices
from moa_graph.prompting.layout import AGGREGATE_AND_SYNTHESIZE, PromptLayout
from moa_graph.prompting.tokens import check_token_limit


def resolve_options(options: GraphOptions) -> GraphSpec:
    """Resolve the options of a mixture.

    Raises:
        ValueError, ImportError: As `create_moa`.
    """
    _check_aggregation(options.aggregation)
    check_policy(options.cache_policy)
    _check_router(options.router)
    spec = resolve_spec(
        options.layers,
        [options.aggregator, *options.fallbacks],
        options,
        hide_proposer_tokens=not options.stream_proposals,
        hide_aggregator_tokens=options.aggregation == "select",
    )
    spec = replace(
        spec,
        aggregation=options.aggregation,
        cache_policy=options.cache_policy,
        router=options.router,
        routes=resolve_routes(options.router.routes) if options.router else {},
    )
    spec = _set_up_analysis(_set_up_vote(_set_up_windows(spec, options), options), options)
    if not options.lazy:
        _build_models(spec)
    return replace(spec, depth_policy=resolve_depth(options, spec))


def _check_aggregation(aggregation: Any) -> None:
    if aggregation not in get_args(Aggregation):
        expected = ", ".join(map(repr, get_args(Aggregation)))
        raise ValueError(f"`aggregation`={aggregation!r}: expected one of: {expected}")


def _check_router(router: Any) -> None:
    if router is not None and not isinstance(router, Router):
        raise ValueError(  # as other options
            f"`router`={router!r}: expected Router(decider, easy='provider:model')"
        )


def _build_models(spec: GraphSpec) -> None:
    """Build all models now, so that a missing key is reported before the first call."""
    for agent_node in (spec.aggregators[0], *spec.answer_agents[:1], *spec.routes.values()):
        agent_node.build_models()
    if spec.router:
        spec.router.build_model()


def _set_up_windows(spec: GraphSpec, options: GraphOptions) -> GraphSpec:
    if options.aggregation != "sequential":
        return spec
    size = check_window_size(options.references_per_window)
    proposers = spec.layers[-1].agent_nodes
    windows, aggregators = split_into_windows(proposers, spec.aggregators, size)
    return replace(spec, windows=windows, aggregators=aggregators)


def resolve_depth(options: DepthOptions, spec: GraphSpec) -> DepthPolicy:
    """Resolve the options that decide how many layers run.

    Args:
        options: The options.
        spec: The graph specification, with layers, aggregators, router and routes.

    Raises:
        ValueError: If an option is invalid.
    """
    if not isinstance(options.shadow, bool):
        raise ValueError(f"`shadow`={options.shadow!r}: expected True or False")
    return DepthPolicy(
        make_decide(options.early_stop),
        shadow=options.shadow,
        budget=_resolve_budget(options, spec),
        decider=name_decider(options.early_stop),
    )


def _resolve_budget(options: DepthOptions, spec: GraphSpec) -> RunBudget | None:
    check_prices(options.prices)
    if options.max_cost is None:
        return None
    agent_nodes = [
        *chain(*(layer_spec.agent_nodes for layer_spec in spec.layers)),
        *spec.answer_readers,
        *spec.routes.values(),
    ]
    deciders = [name_decider(each) for each in (options.early_stop, spec.router) if each]
    labels = [*(each.agent.label for each in agent_nodes), *filter(None, deciders)]
    max_cost = check_max_cost(options.max_cost, options.prices, labels)
    return RunBudget(max_cost, options.prices, spec.layers)


def _set_up_analysis(spec: GraphSpec, options: GraphOptions) -> GraphSpec:
    analysis, only = options.analysis, options.analysis_only
    check_analysis(analysis, analysis_only=only)
    if analysis is False:
        return spec
    if spec.picks or spec.windows or options.aggregation in {"select", "sequential"}:
        raise ValueError(
            f"`analysis`={analysis!r}: has no effect with `aggregation`={options.aggregation!r}, "
            "because no aggregator reads all compared proposals; expected 'synthesize', or "
            "'vote' with `finalists` above 1"
        )
    agent = spec.aggregators[0].agent if analysis is True else to_agent(analysis, "`analysis`")
    analyst, aggregators = set_up_analysis(
        spec.aggregators, spec.layers[-1].agent_nodes[0], agent, replaces=only
    )
    return replace(spec, analyst=analyst, aggregators=aggregators)


def _set_up_vote(spec: GraphSpec, options: GraphOptions) -> GraphSpec:
    if options.aggregation != "vote":
        check_has_vote(options.voters, options.finalists)
        return spec
    proposers = spec.layers[-1].agent_nodes if spec.layers else ()
    finalists = check_finalists(options.finalists, len(proposers))
    if options.voters is None:
        check_can_vote(len(proposers))
        voters = [(each.name, each) for each in proposers]
    else:
        voters = resolve_voters(options.voters, proposers[0])
    vote = set_up_vote(spec.layers[-1], voters, finalists)
    aggregators = [
        replace(
            each,
            layer=vote.layer_spec.number + 1,
            selector=FinalistSelector(is_shuffled=each.selector.is_shuffled, vote=vote),
        )
        for each in spec.aggregators
    ]
    return replace(spec, vote=vote, aggregators=aggregators)


def resolve_spec(
    layers: Sequence[Layer],
    aggregators: Sequence[Model | Agent],
    options: LayerOptions,
    *,
    hide_proposer_tokens: bool,
    hide_aggregator_tokens: bool = False,
) -> GraphSpec:
    """Resolve the agents of the layers and the aggregators.

    Args:
        layers: The layers of proposers.
        aggregators: The aggregator and its fallbacks; empty if another model writes the answer.
        options: The options of the layers.
        hide_proposer_tokens: Whether streams leave out the tokens of proposers.
        hide_aggregator_tokens: Whether streams also leave out the tokens of aggregators.

    Raises:
        ValueError: As `create_moa`.
    """
    check_token_limit("max_tool_result_tokens", options.max_tool_result_tokens)
    check_reader_options(options.references_per_reader, options.order)
    prompt = AGGREGATE_AND_SYNTHESIZE if options.prompt is None else options.prompt
    layout = PromptLayout(
        prompt,
        options.references_in,
        options.max_reference_tokens,
        mark_truncated=options.mark_truncated,
        include_reasoning=options.include_reasoning,
    )
    agent_nodes, aggregator_nodes = resolve_agents(
        layers,
        aggregators,
        hide_proposer_tokens=hide_proposer_tokens,
        hide_aggregator_tokens=hide_aggregator_tokens,
        trim_history=options.trim_history,
        max_tool_result_tokens=options.max_tool_result_tokens,
        keep_reasoning=options.include_reasoning,
    )
    agent_nodes, aggregator_nodes = set_selectors(agent_nodes, aggregator_nodes, options)
    policies = policies_for_layers(
        [len(row) for row in agent_nodes], options.quorum, options.grace, options.deadline
    )
    layer_specs = [
        LayerSpec(number, *row)
        for number, row in enumerate(zip(agent_nodes, policies, strict=True), 1)
    ]
    return GraphSpec(layer_specs, aggregator_nodes, layout)
