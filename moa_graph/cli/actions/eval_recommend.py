"""Implementation of `moa eval recommend`: write the best system for a price as TOML."""

from pathlib import Path

import typer

from moa_graph.cli.actions.eval_run import load_plan
from moa_graph.cli.errors import CommandError
from moa_graph.evals.recommendation import recommend


def write_recommendation(
    path: Path, price: float, benchmark: str | None, out: Path | None, to: Path | None
) -> None:
    """Print the recommendation, or write it to a new file.

    Raises:
        CommandError: If it cannot be written.
        ValueError: If there are no measurements, or no system is that cheap.
    """
    plan, folder = load_plan(path, out)
    text = recommend(plan, folder, price, benchmark).format_toml()
    if to is None:
        typer.echo(text, nl=False)
        return
    try:
        with to.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise CommandError(f"{to}: {error.strerror}") from None
    typer.echo(to)
