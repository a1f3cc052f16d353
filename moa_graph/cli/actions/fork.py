"""Answer a question again from a layer on, with other models or fewer proposals."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AnyMessage
from langchain_core.runnables import RunnableConfig

from moa_graph.cli.actions.run import (
    CliRun,
    CliRunResult,
    OutputOptions,
    input_to_resume,
    run_and_print,
)
from moa_graph.cli.choice import require_api_keys
from moa_graph.cli.errors import CommandError
from moa_graph.cli.forgiving_store import warn_of_busy_database
from moa_graph.cli.terminal.plain_text import print_warning
from moa_graph.cli.thread_loading import find_thread_or_last
from moa_graph.config.model import MoAConfig
from moa_graph.graph.builder import CompiledMoAGraph
from moa_graph.graph.node_names import AGGREGATOR, ANALYSIS, VOTES
from moa_graph.runs.fork_point import ForkPoint, can_be_fork_point, fork_point_in
from moa_graph.runs.remedies import with_answer_limit
from moa_graph.runs.store import build_run_config, format_resume_command, open_run_store
from moa_graph.runs.stored_threads import describe_missing_question, require_config
from moa_graph.runs.stored_turns import read_current_values


@dataclass(frozen=True)
class ForkOptions:
    """Changes of a fork."""

    from_layer: str
    aggregator: str | None
    models: tuple[str, ...]
    drop: tuple[str, ...]
    max_tokens: int | None = None
    """Maximum number of tokens of the answer; `None` for that of the mixture."""


def fork_thread(
    thread: str | None, options: ForkOptions, db: str | None, output: OutputOptions
) -> None:
    """Create a new thread from a part of an existing one, and run it.

    Raises:
        CommandError: If there is no such thread or layer, or no answer.
    """
    _check_fork_options(options)
    name = secrets.token_hex(4)

    async def run() -> CliRunResult:
        async with open_run_store(db, create=False, on_busy=warn_of_busy_database) as store:
            source_mixture = require_config(
                source_thread := await find_thread_or_last(store.checkpointer, thread)
            )
            point = parse_fork_point(options.from_layer, source_mixture)
            mixture = apply_fork_options(source_mixture, options, point.layer)
            require_api_keys(mixture)
            graph = source_mixture.graph().compile(checkpointer=store.checkpointer)
            if not (messages := _trim_to_question(source_thread.messages)):
                raise CommandError(describe_missing_question(source_thread))
            values = await read_current_values(
                graph, build_run_config(source_thread.id, source_mixture)
            )
            proposals = _select_proposals(values, point, options.drop)
            print_warning(
                f"moa: thread {source_thread.id} is forked into {name}: "
                f"{_describe_fork(mixture, proposals, point)}"
            )
            run = CliRun(store, name, mixture, output, db)
            if point.asks_all:
                return await run.run_to_end(lambda turn: turn.ask(messages))
            update = {"messages": messages, "proposals": proposals}

            async def store_fork(fork: CompiledMoAGraph, config: RunnableConfig) -> None:
                before, rest = fork_point_in(fork, point.name).find_way(values)
                await fork.aupdate_state(config, update | rest, as_node=before)

            return await run.run_to_end(input_to_resume, edit=store_fork)

    run_and_print(run(), output, format_resume_command(name, db))


def _check_fork_options(options: ForkOptions) -> None:
    """Reject options that are invalid for any thread, before a thread is read."""
    name = options.from_layer
    if not can_be_fork_point(name):
        raise CommandError(
            f"--from: no layer {name!r}; expected one of: layer_1, layer_2, ..., {AGGREGATOR}"
        )
    for each in options.models:
        if not all(each.partition("=")):
            raise CommandError(
                f"--model {each}: expected 'provider:model' of a proposer, NAME=PROVIDER:MODEL"
            )


def _describe_fork(mixture: MoAConfig, proposals: Mapping[str, Any], point: ForkPoint) -> str:
    """Describe the reused proposals, and the number of new calls."""
    asked = dict[str, int]()
    for number, width in enumerate(mixture.layer_widths()[point.layer - 1 :], point.layer):
        asked[f"{width} of layer {number}"] = width
    for stage in point.stages:
        asked |= _count_stage(stage, point)
    *others, last = asked or ["nobody"]
    recipients = " and ".join(filter(None, [", ".join(others), last]))
    usable = sum(not proposal["error"] for proposal in proposals.values())
    reuse_note = f"{usable} proposals are reused" if proposals else "nothing is reused"
    calls = sum(asked.values())
    return f"{reuse_note}, {recipients} called again ({calls} call{'' if calls == 1 else 's'})"


def _count_stage(stage: str, point: ForkPoint) -> dict[str, int]:
    """Describe the agents that are called after the layers, and how often."""
    vote = point.spec.vote
    if stage == VOTES and vote:
        if point.name in vote.nodes:
            return {point.name: 1}
        return {f"{len(vote.nodes)} voters": len(vote.nodes)}
    if stage == AGGREGATOR:
        return {} if vote and vote.decides else {"the aggregator": 1}
    return {f"the {stage}" if stage == ANALYSIS else stage: 1}


def parse_fork_point(name: str, mixture: MoAConfig, option: str = "--from") -> ForkPoint:
    """Parse the name of the first part to run again.

    Raises:
        CommandError: If the mixture has no such part.
    """
    try:
        return ForkPoint.parse(name, mixture.graph())
    except LookupError as error:
        raise CommandError(f"{option}: {error.args[0]}") from None


def apply_fork_options(mixture: MoAConfig, options: ForkOptions, layer: int) -> MoAConfig:
    """Replace models in a mixture from a layer on.

    Raises:
        CommandError: If there is no such proposer, or a model is not `provider:model`.
    """
    models = {name: model for name, _, model in (each.partition("=") for each in options.models)}
    proposers = {name for row in mixture.layers[layer - 1 :] for name in row}
    if unknown := sorted(models.keys() - proposers):
        raise CommandError(
            f"--model: no proposer {unknown[0]!r} from {options.from_layer} on; "
            f"expected one of: {', '.join(sorted(proposers)) or 'none'}"
        )
    try:
        changed = mixture.override(models=models or None, aggregator=options.aggregator)
        return with_answer_limit(changed, options.max_tokens) if options.max_tokens else changed
    except ValueError as error:
        raise CommandError(f"--{error}".replace("--models.", "--model ", 1)) from None


def _trim_to_question(conversation: Sequence[AnyMessage]) -> list[AnyMessage]:
    """Return the conversation up to the last question."""
    messages = list(conversation)
    while messages and messages[-1].type == "ai":
        messages.pop()
    return messages


def _select_proposals(
    values: Mapping[str, Any], point: ForkPoint, drop: tuple[str, ...]
) -> dict[str, Any]:
    """Return the proposals of earlier layers to reuse."""
    last = point.find_last_layer(values)
    selected = point.take_over(values["proposals"])
    if last and not _has_layer(selected, last):
        raise CommandError(f"--from: the thread has no proposals of layer {last}")
    for name in drop:
        _drop_proposals(selected, name)
    if last and not _has_layer(selected, last):
        raise CommandError(f"--drop: one proposal of layer {last} must stay, got all of them")
    return selected


def _has_layer(proposals: Mapping[str, Any], layer: int) -> bool:
    return any(proposal["layer"] == layer for proposal in proposals.values())


def _drop_proposals(proposals: dict[str, Any], name: str) -> None:
    """Drop the proposal of a node, or all proposals of an agent."""
    nodes = [node for node, p in proposals.items() if name in {node, p["agent"]}]
    if not nodes:
        raise CommandError(
            f"--drop: no proposal {name!r} before that; expected one of: {', '.join(proposals)}"
        )
    for node in nodes:
        del proposals[node]
