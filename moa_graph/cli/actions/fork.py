"""Answer a question anew from some layer on, with other models or without some proposals."""

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import typer
from langchain_core.messages import AnyMessage

from moa_graph.cli.actions.run import (
    Output,
    Result,
    Run,
    check_keys,
    resume,
    run_and_print,
)
from moa_graph.cli.errors import CommandError
from moa_graph.config.model import MoAConfig
from moa_graph.graph.node_names import AGGREGATOR
from moa_graph.runs.store import (
    CompiledMoA,
    find_thread,
    no_question,
    open_store,
    read_values,
    readable,
    resume_command,
    run_config,
)


@dataclass(frozen=True)
class Changes:
    """What is to be different."""

    at: str
    aggregator: str | None
    models: tuple[str, ...]
    drop: tuple[str, ...]


def fork_thread(thread: str, changes: Changes, db: str | None, output: Output) -> None:
    """Begin a new thread with what an old one has, and run it to its end.

    Raises:
        CommandError: If there is no such thread or layer, or no answer.
    """
    name = secrets.token_hex(4)

    async def run() -> Result:
        async with open_store(db, make=False) as store:
            old = readable(found := await find_thread(store.saver, thread))
            layer = layer_number(changes.at, old)
            mixture = changed_mixture(old, changes, layer)
            check_keys(mixture)
            graph = old.graph().compile(checkpointer=store.saver)
            if not (messages := _question(found.messages)):
                raise CommandError(no_question(found))
            values = await read_values(graph, run_config(found.id, old))
            kept = _kept(values["proposals"], layer, changes.drop)
            typer.echo(
                f"moa: thread {thread} is forked into {name}: {_plan(mixture, kept, layer)}",
                err=True,
            )
            run = Run(store, name, mixture, output, db)
            if layer == 1:
                return await run.to_its_end(lambda turn: turn.ask(messages))
            update = {"messages": messages, "proposals": kept}
            before = last_node(graph, layer - 1)
            await graph.aupdate_state(run_config(name, mixture), update, as_node=before)
            return await run.to_its_end(resume)

    run_and_print(run(), output, resume_command(name, db))


def _plan(mixture: MoAConfig, kept: Mapping[str, Any], layer: int) -> str:
    """Say what is taken over, and how many calls will be made."""
    rows = enumerate(mixture.layers, 1)
    widths = {
        number: sum(agent.samples for agent in row.values())
        for number, row in rows
        if number >= layer
    }
    asked = [f"{width} of layer {number}" for number, width in widths.items()]
    calls = sum(widths.values()) + 1
    usable = sum(not proposal["error"] for proposal in kept.values())
    taken = f"{usable} proposals are taken over" if kept else "nothing is taken over"
    who = " and ".join(filter(None, [", ".join(asked), "the aggregator"]))
    return f"{taken}, {who} asked anew ({calls} call{'s' if calls > 1 else ''})"


def layer_number(at: str, mixture: MoAConfig, option: str = "--at") -> int:
    """Read where to begin anew: the number of a layer; the aggregator's is one more.

    Raises:
        CommandError: If there is no such layer.
    """
    last = len(mixture.layers) + 1
    number = last if at == AGGREGATOR else int((re.findall(r"^layer_(\d+)$", at) or [0])[0])
    if not 1 <= number <= last or at == f"layer_{last}":
        layers = ", ".join(f"layer_{index}" for index in range(1, last))
        raise CommandError(f"{option}: no layer {at!r}; expected one of: {layers}, {AGGREGATOR}")
    return number


def changed_mixture(mixture: MoAConfig, changes: Changes, layer: int) -> MoAConfig:
    """Put other models into a mixture, from a layer on.

    Raises:
        CommandError: If there is no such proposer, or a model is not `provider:model`.
    """
    models = {name: model for name, _, model in (each.partition("=") for each in changes.models)}
    known = {name for row in mixture.layers[layer - 1 :] for name in row}
    if unknown := sorted(models.keys() - known):
        raise CommandError(
            f"--model: no proposer {unknown[0]!r} from {changes.at} on; "
            f"expected one of: {', '.join(sorted(known)) or 'none'}"
        )
    try:
        return mixture.override(models=models or None, aggregator=changes.aggregator)
    except ValueError as error:
        raise CommandError(f"--{error}".replace("--models.", "--model ", 1)) from None


def _question(conversation: Sequence[AnyMessage]) -> list[AnyMessage]:
    """Give the conversation up to the last question."""
    messages = list(conversation)
    while messages and messages[-1].type == "ai":
        messages.pop()
    return messages


def _kept(proposals: Mapping[str, Any], layer: int, drop: tuple[str, ...]) -> dict[str, Any]:
    """Choose the proposals of earlier layers that stay."""
    kept = {node: p for node, p in proposals.items() if p["layer"] < layer}
    if layer > 1 and not any(p["layer"] == layer - 1 for p in kept.values()):
        raise CommandError(f"--at: the thread has no proposals of layer {layer - 1}")
    for name in drop:
        nodes = [n for n, p in kept.items() if name == n or name == p["agent"]]
        if not nodes:
            raise CommandError(
                f"--drop: no proposal {name!r} before that; expected one of: {', '.join(kept)}"
            )
        for node in nodes:
            del kept[node]
    if layer > 1 and not any(p["layer"] == layer - 1 for p in kept.values()):
        raise CommandError(f"--drop: a proposal of layer {layer - 1} must stay, got all of them")
    return kept


def last_node(graph: CompiledMoA, layer: int) -> str:
    """Name a node that the hub of a layer follows."""
    hub = f"layer_{layer}_{AGGREGATOR}"
    return next(n for n in graph.nodes if n.startswith(f"layer_{layer}_") and n != hub)
