"""The command `moa draw`: its options."""

from pathlib import Path
from typing import Annotated

import typer

from moa_graph.cli import completion
from moa_graph.cli.options import (
    ConfigOption,
    DatabaseOption,
    PresetOption,
    check_thread_argument,
)
from moa_graph.cli.registration import MIXTURES_PANEL

PANEL = MIXTURES_PANEL
EXAMPLES = ("moa draw --preset moa --out moa.svg", "moa draw sky --out run.svg")


def draw(
    thread: Annotated[
        str | None,
        typer.Argument(
            help="Draw the last run of a thread.",
            autocompletion=completion.complete_threads,
            callback=check_thread_argument,
        ),
    ] = None,
    preset: PresetOption = None,
    config: ConfigOption = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="Write to a file: .svg, .png or .mmd."),
    ] = None,
    db: DatabaseOption = None,
) -> None:
    """Draw the graph, with a box for each layer, as Mermaid text, SVG or PNG.

    With a thread, each agent shows its seconds, tokens and estimated cost, or its failure. Thick
    lines mark the calls that the run waited for.
    """
    from moa_graph.cli.actions.draw import check_draw_options, draw_mixture, draw_thread

    check_draw_options(preset, config, thread, out)
    if thread:
        draw_thread(thread, db, out)
    else:
        draw_mixture(preset, config, out)
