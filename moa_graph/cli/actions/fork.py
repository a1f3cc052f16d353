"""Answer a question anew from some layer on, with other models or without some proposals."""

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
from moa_graph.graph.node_names import AGGREGATOR, layer_name, parse_layer_name, parse_node_name
from moa_graph.runs.store import (
    build_run_config,
    describe_missing_question,
    format_resume_command,
    open_run_store,
    read_current_values,
    require_config,
)


@dataclass(frozen=True)
class ForkOptions:
    """What is to be different."""

    from_layer: str
    aggregator: str | None
    models: tuple[str, ...]
    drop: tuple[str, ...]


def fork_thread(
    thread: str | None, options: ForkOptions, db: str | None, output: OutputOptions
) -> None:
    """Begin a new thread with what an old one has, and run it to its end.

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
            layer = parse_layer(options.from_layer, source_mixture)
            mixture = apply_fork_options(source_mixture, options, layer)
            require_api_keys(mixture)
            graph = source_mixture.graph().compile(checkpointer=store.checkpointer)
            if not (messages := _trim_to_question(source_thread.messages)):
                raise CommandError(describe_missing_question(source_thread))
            values = await read_current_values(
                graph, build_run_config(source_thread.id, source_mixture)
            )
            proposals = _select_proposals(values["proposals"], layer, options.drop)
            print_warning(
                f"moa: thread {source_thread.id} is forked into {name}: "
                f"{_describe_fork(mixture, proposals, layer)}"
            )
            run = CliRun(store, name, mixture, output, db)
            if layer == 1:
                return await run.run_to_end(lambda turn: turn.ask(messages))
            update = {"messages": messages, "proposals": proposals}

            async def store_fork(fork: CompiledMoAGraph, config: RunnableConfig) -> None:
                before = find_layer_proposer(fork, layer - 1)
                await fork.aupdate_state(config, update, as_node=before)

            return await run.run_to_end(input_to_resume, edit=store_fork)

    run_and_print(run(), output, format_resume_command(name, db))


def _check_fork_options(options: ForkOptions) -> None:
    """Refuse what is a mistake for any thread, before one is looked for."""
    name = options.from_layer
    if name != AGGREGATOR and not parse_layer_name(name):
        raise CommandError(
            f"--from: no layer {name!r}; expected one of: layer_1, layer_2, ..., {AGGREGATOR}"
        )
    for each in options.models:
        if not all(each.partition("=")):
            raise CommandError(
                f"--model {each}: expected 'provider:model' of a proposer, NAME=PROVIDER:MODEL"
            )


def _describe_fork(mixture: MoAConfig, proposals: Mapping[str, Any], layer: int) -> str:
    """Say what is taken over, and how many calls will be made."""
    widths = mixture.layer_widths()[layer - 1 :]
    call_counts = [f"{width} of layer {number}" for number, width in enumerate(widths, layer)]
    calls = sum(widths) + 1
    usable = sum(not proposal["error"] for proposal in proposals.values())
    reuse_note = f"{usable} proposals are taken over" if proposals else "nothing is taken over"
    recipients = " and ".join(filter(None, [", ".join(call_counts), "the aggregator"]))
    return f"{reuse_note}, {recipients} asked anew ({calls} call{'s' if calls > 1 else ''})"


def parse_layer(name: str, mixture: MoAConfig, option: str = "--from") -> int:
    """Read where to begin anew: the number of a layer; the aggregator's is one more.

    Raises:
        CommandError: If there is no such layer.
    """
    last = len(mixture.layers) + 1
    number = last if name == AGGREGATOR else parse_layer_name(name) or 0
    if not 1 <= number <= last or name == layer_name(last):
        layers = ", ".join(layer_name(index) for index in range(1, last))
        raise CommandError(f"{option}: no layer {name!r}; expected one of: {layers}, {AGGREGATOR}")
    return number


def apply_fork_options(mixture: MoAConfig, options: ForkOptions, layer: int) -> MoAConfig:
    """Put other models into a mixture, from a layer on.

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
        return mixture.override(models=models or None, aggregator=options.aggregator)
    except ValueError as error:
        raise CommandError(f"--{error}".replace("--models.", "--model ", 1)) from None


def _trim_to_question(conversation: Sequence[AnyMessage]) -> list[AnyMessage]:
    """Give the conversation up to the last question."""
    messages = list(conversation)
    while messages and messages[-1].type == "ai":
        messages.pop()
    return messages


def _select_proposals(
    proposals: Mapping[str, Any], layer: int, drop: tuple[str, ...]
) -> dict[str, Any]:
    """Choose the proposals of earlier layers that stay."""
    selected = {node: p for node, p in proposals.items() if p["layer"] < layer}
    if layer > 1 and not _has_layer(selected, layer - 1):
        raise CommandError(f"--from: the thread has no proposals of layer {layer - 1}")
    for name in drop:
        _drop_proposals(selected, name)
    if layer > 1 and not _has_layer(selected, layer - 1):
        raise CommandError(f"--drop: a proposal of layer {layer - 1} must stay, got all of them")
    return selected


def _has_layer(proposals: Mapping[str, Any], layer: int) -> bool:
    return any(proposal["layer"] == layer for proposal in proposals.values())


def _drop_proposals(proposals: dict[str, Any], name: str) -> None:
    """Drop the proposal of a node, or all of an agent."""
    nodes = [node for node, p in proposals.items() if name in {node, p["agent"]}]
    if not nodes:
        raise CommandError(
            f"--drop: no proposal {name!r} before that; expected one of: {', '.join(proposals)}"
        )
    for node in nodes:
        del proposals[node]


def find_layer_proposer(graph: CompiledMoAGraph, layer: int) -> str:
    """Name a node that the layer aggregator follows."""
    names = ((node, parse_node_name(node)) for node in graph.nodes)
    return next(
        node
        for node, name in names
        if name and name.layer == layer and not name.is_layer_aggregator
    )
