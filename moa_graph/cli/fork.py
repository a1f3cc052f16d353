"""Answer a question anew from some layer on, with other models or without some proposals."""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import typer

from moa_graph.cli.errors import CommandError
from moa_graph.cli.run import Output, Result, Run, check_keys, run_and_print
from moa_graph.config import MoAConfig
from moa_graph.naming import AGGREGATOR
from moa_graph.store import (
    CompiledMoA,
    find_thread,
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
        async with open_store(db) as store:
            old = readable(found := await find_thread(store.saver, thread))
            layer = _layer(changes.at, old)
            mixture = _changed(old, changes, layer)
            check_keys(mixture)
            graph = old.graph().compile(checkpointer=store.saver)
            values = await read_values(graph, run_config(found.id, old))
            messages = _question(values)
            kept = _kept(values["proposals"], layer, changes.drop)
            typer.echo(f"moa: thread {thread} is forked into {name}", err=True)
            run = Run(store, name, mixture, output, db)
            if layer == 1:
                return await run.to_its_end({"messages": messages})
            update = {"messages": messages, "proposals": kept}
            before = _last_node(graph, layer - 1)
            await graph.aupdate_state(run_config(name, mixture), update, as_node=before)
            return await run.to_its_end(None)

    run_and_print(run(), output, resume_command(name, db))


def _layer(at: str, mixture: MoAConfig) -> int:
    last = len(mixture.layers) + 1
    number = last if at == AGGREGATOR else int((re.findall(r"^layer_(\d+)$", at) or [0])[0])
    if not 1 <= number <= last or at == f"layer_{last}":
        layers = ", ".join(f"layer_{index}" for index in range(1, last))
        raise CommandError(f"--at: no layer {at!r}; expected one of: {layers}, {AGGREGATOR}")
    return number


def _changed(mixture: MoAConfig, changes: Changes, layer: int) -> MoAConfig:
    """Put other models into a mixture, from a layer on."""
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


def _question(values: Mapping[str, Any]) -> list[Any]:
    """Give the conversation up to the last question."""
    messages = list(values["messages"])
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
    return kept


def _last_node(graph: CompiledMoA, layer: int) -> str:
    """Name a node that the hub of a layer follows."""
    hub = f"layer_{layer}_{AGGREGATOR}"
    return next(n for n in graph.nodes if n.startswith(f"layer_{layer}_") and n != hub)
