"""Write a run as a page."""

import asyncio
from pathlib import Path

import typer

from moa_graph.cli.draw import write_file
from moa_graph.reporting import report
from moa_graph.store import (
    find_thread,
    open_store,
    present_values,
    readable,
    run_config,
)


def report_thread(name: str, db: str | None, out: Path | None) -> None:
    """Write the last run of a thread to a file, or to standard output.

    Raises:
        CommandError: If there is no such thread, or the file cannot be written.
    """

    async def read() -> str:
        async with open_store(db) as store:
            mixture = readable(await find_thread(store.saver, name))
            graph = mixture.graph().compile(checkpointer=store.saver)
            config = run_config(name, mixture)
            history = [snapshot async for snapshot in graph.aget_state_history(config)]
            state = present_values(graph, await graph.aget_state(config))
            return report(state, graph, history=history, prices=mixture.prices)

    page = asyncio.run(read())
    if out:
        write_file(out, page)
    else:
        typer.echo(page, nl=False)
