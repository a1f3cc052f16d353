"""The options that several commands of `moa eval` share."""

from pathlib import Path
from typing import Annotated

import typer

PlanArgument = Annotated[Path, typer.Argument(help="The plan, as a TOML file.", show_default=False)]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="The folder of the comparison; by default the plan's `out`."),
]
