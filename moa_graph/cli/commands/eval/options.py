"""Options that several commands of `moa eval` share."""

from pathlib import Path
from typing import Annotated

import typer

PlanArgument = Annotated[Path, typer.Argument(help="The plan, as a TOML file.", show_default=False)]
ScorerOption = Annotated[
    str | None,
    typer.Option(
        "--scorer",
        metavar="NAME",
        help="An exact scorer instead of a judge: exact, number, choice, regex, json, math, "
        "ifeval, code, or module:function, a function of the answer and the row of the data.",
    ),
]
RunCodeOption = Annotated[
    bool,
    typer.Option(
        "--run-code",
        help="Allow the scorer `code` to run code of models on this machine, within limits of time "
        "and memory.",
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        metavar="FOLDER",
        help="Folder of the comparison; by default `out` of the plan.",
    ),
]
