"""How long programs take to start, beside a bare typer program and a bare LangGraph one."""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from measuring import Sample, cpu, options, paired, report, wall

PYTHON = (sys.executable, "-c")
MOA = (*PYTHON, "from moa_graph.cli import main; main()")
TYPER = """
import typer
app = typer.Typer()
@app.command()
def ask(question: str, times: int = 1) -> None:
    "Ask."
app()
"""
LANGGRAPH = "import typer, langgraph.graph, langgraph.checkpoint.sqlite.aio"
BARE, WHOLE = "a bare typer program, --help", "import typer, langgraph, its SQLite saver"

Command = Sequence[str]
Table = Mapping[str, tuple[Command, str]]
"""What is run, and beside what."""


def commands(folder: Path) -> Table:
    """List what is measured."""
    text = folder / "minutes.txt"
    text.write_text("It was decided to plant a tree. The tree is to stand in the yard.\n" * 20)
    ask = ("ask", "What is decided?", "--preset", "offline", "--file", str(text), "--thread", "a")
    return {
        "python -c pass": ((*PYTHON, "pass"), "python -c pass"),
        "import moa_graph": ((*PYTHON, "import moa_graph"), "python -c pass"),
        BARE: ((*PYTHON, TYPER, "--help"), BARE),
        "moa --help": ((*MOA, "--help"), BARE),
        "moa presets": ((*MOA, "presets"), BARE),
        "moa ask, no such file": ((*MOA, "ask", "q", "--config", "nowhere.toml"), BARE),
        WHOLE: ((*PYTHON, LANGGRAPH), WHOLE),
        "moa ask, offline": ((*MOA, *ask), WHOLE),
        "moa threads": ((*MOA, "threads"), WHOLE),
        "moa show": ((*MOA, "show", "a"), WHOLE),
    }


def measure(table: Table, folder: Path, rounds: int) -> dict[str, list[Sample]]:
    """Start the programs in turns; the first round, which compiles and stores, is left out."""
    environment = {**os.environ, "MOA_DB": str(folder / "runs.sqlite")}
    samples: dict[str, list[Sample]] = {name: [] for name in table}
    for number in range(-1, rounds):
        for name, (command, _) in table.items():
            sample = _start(command, environment)
            if number >= 0:
                samples[name].append(sample)
    return samples


def _start(command: Command, environment: Mapping[str, str]) -> Sample:
    begun, before = time.perf_counter(), _cpu()
    subprocess.run(command, env=environment, capture_output=True, check=False)
    return Sample(time.perf_counter() - begun, _cpu() - before)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Measure, and report."""
    chosen = options(__doc__)
    with tempfile.TemporaryDirectory() as name:
        table = commands(Path(name))
        samples = measure(table, Path(name), 1 if chosen.quick else 7)
    rows = [
        {
            "program": program,
            "beside": "" if beside == program else beside,
            "CPU ratio": paired(*([each.cpu for each in samples[x]] for x in (program, beside))),
            "wall ratio": paired(*([each.wall for each in samples[x]] for x in (program, beside))),
            "CPU, ms": cpu(samples[program]) * 1000,
            "wall, ms": wall(samples[program]) * 1000,
        }
        for program, (_, beside) in table.items()
    ]
    report("Starting", rows, chosen.json)


if __name__ == "__main__":
    main()
