"""Draw a mixture or a run."""

from pathlib import Path
from typing import Any

import typer

from moa_graph.cli.choice import load_mixture
from moa_graph.cli.errors import CommandError
from moa_graph.cli.umask import umask_of_user
from moa_graph.config.model import MoAConfig

DRAWING_SUFFIXES = (".svg", ".png", ".mmd")


def check_draw_options(
    preset: str | None, config: Path | None, thread: str | None, out: Path | None
) -> None:
    """Check the combination of options before anything is read.

    Raises:
        CommandError: If it is invalid.
    """
    if thread and (preset or config):
        raise CommandError("give a thread, or --preset or --config, not both")
    if out and out.suffix.lower() not in DRAWING_SUFFIXES:
        raise CommandError(
            f"--out {out}: expected a name that ends in {', '.join(DRAWING_SUFFIXES)}"
        )
    check_output_folder(out)


def draw_mixture(preset: str | None, config: Path | None, out: Path | None) -> None:
    """Draw a mixture.

    Raises:
        CommandError: If there is no such preset, or the file cannot be written.
    """
    _write_drawing(load_mixture(preset, config), None, out)


def draw_thread(name: str, db: str | None, out: Path | None) -> None:
    """Draw the last run of a thread.

    Raises:
        CommandError: If the file cannot be written.
        StoreError: If there is no such thread.
    """
    from moa_graph.cli.thread_loading import load_thread

    loaded_thread = load_thread(name, db)
    _write_drawing(loaded_thread.mixture, loaded_thread.values, out)


def _write_drawing(mixture: MoAConfig, state: dict[str, Any] | None, out: Path | None) -> None:
    from moa_graph.drawing.draw import draw_mermaid, draw_png, draw_svg

    graph, prices = mixture.graph(), mixture.prices
    suffix = out.suffix.lower() if out else ""
    if out is None:
        typer.echo(draw_mermaid(graph, state, prices=prices), nl=False)
        return
    with umask_of_user():  # a drawing contains no conversation
        if suffix == ".png":
            write_output_file(out, draw_png(graph, state, prices=prices))
            return
        draw = draw_svg if suffix == ".svg" else draw_mermaid
        write_output_file(out, draw(graph, state, prices=prices))


def check_output_folder(out: Path | None) -> None:
    """Check that the folder of an output file exists, before anything is read.

    Raises:
        CommandError: If it does not.
    """
    if out and not (folder := out.expanduser().parent).is_dir():
        raise CommandError(f"--out {out}: there is no folder {folder}")


def write_output_file(path: Path, content: str | bytes) -> None:
    """Write a file that the user named.

    Raises:
        CommandError: If it cannot be written.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    try:
        path.expanduser().write_bytes(data)
    except OSError as error:
        raise CommandError(f"--out {path}: {error.strerror}") from None
