"""What is asked, and of which mixture."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from moa_graph.cli.errors import CommandError
from moa_graph.config.model import MoAConfig, preset_names

DEFAULT_PRESETS = ("together", "openai")
"""What is asked without --preset and --config: the first whose keys are set."""
OFFLINE_PRESET = "offline"

MISSING_QUESTION = (
    "moa: Missing argument 'QUESTION'; `moa chat` reads questions from standard input"
)
ASK_USAGE = """\
moa: what is the question?

  moa ask "Why is the sky blue?"
  moa ask "What is decided here?" --file minutes.txt
  moa chat                                 to talk, one question after another
  moa ask --help                           for all options"""
NO_KEY_NOTICE = (
    "moa: neither TOGETHER_API_KEY nor OPENAI_API_KEY is set; using preset 'offline', which "
    "quotes from the text it is given and is no language model"
)
PRESET_HINTS = """
  real models:   export OPENAI_API_KEY=...      or TOGETHER_API_KEY
  local models:  --preset ollama                with Ollama running; no key
  as it is:      --preset offline --file FILE   without this note"""


def build_question(question: str | None, paths: Sequence[str]) -> str:
    """Put the text of files behind a question.

    Raises:
        CommandError: If there is no question, or a file cannot be read as text.
    """
    if question is None:
        typer.echo(ASK_USAGE if sys.stdin.isatty() else MISSING_QUESTION, err=True)
        raise typer.Exit(2)
    if [question, *paths].count("-") > 1:
        raise CommandError("standard input can be read once; give - once, and files by their names")
    if question == "-":
        question = _read_text("-", "QUESTION -")
    if not question.strip():
        raise CommandError("the question is empty")
    return "\n\n".join([question, *map(_format_attachment, paths)])


def _read_text(path: str, option: str) -> str:
    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).expanduser().read_bytes()
        return data.decode("utf-8-sig").rstrip()
    except OSError as error:
        raise CommandError(f"{option}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CommandError(f"{option}: not UTF-8 text") from None


def _format_attachment(path: str) -> str:
    text = _read_text(path, f"--file {path}").replace("</file>", "<\\/file>")
    name = "standard input" if path == "-" else " ".join(Path(path).name.replace('"', "'").split())
    return f'<file name="{name}">\n{text}\n</file>'


def load_mixture(preset: str | None = None, config: Path | None = None) -> MoAConfig:
    """Load the mixture that is asked for, or the one whose key is set.

    Raises:
        CommandError: If both are given, or there is no such preset.
        ValueError: If the file is not a valid mixture.
    """
    if preset and config:
        raise CommandError("give --preset or --config, not both")
    if config:
        return MoAConfig.load(config.expanduser())
    if preset and preset not in preset_names():
        raise CommandError(
            f"--preset: no preset {preset!r}; expected one of: {', '.join(preset_names())}"
        )
    return MoAConfig.load(preset or _default_preset())


def load_mixtures(presets: Sequence[str], configs: Sequence[Path]) -> dict[str, MoAConfig]:
    """Load the mixtures that are asked for, by name.

    Without any: the presets that need keys which are all set, and `offline`.

    Raises:
        CommandError: If there is no such preset, or two mixtures have the same name.
        ValueError: If a file is not a valid mixture.
    """
    mixtures = [load_mixture(name) for name in dict.fromkeys(presets)]
    mixtures += [load_mixture(config=path) for path in configs]
    names = [mixture.name for mixture in mixtures]
    if duplicates := [name for name in names if names.count(name) > 1]:
        raise CommandError(
            f"two mixtures are named {duplicates[0]!r}; give one of them another `name`"
        )
    return {mixture.name: mixture for mixture in mixtures or _runnable_presets()}


def _runnable_presets() -> list[MoAConfig]:
    presets = [MoAConfig.load(name) for name in preset_names()]
    return [mixture for mixture in presets if mixture.name == OFFLINE_PRESET or _has_keys(mixture)]


def _has_keys(mixture: MoAConfig) -> bool:
    """Tell whether a mixture needs keys, and all are set."""
    keys = mixture.required_keys()
    return bool(keys) and all(map(os.environ.get, keys))


def describe_mixture(mixture: MoAConfig) -> str:
    """Describe a mixture in a line."""
    widths = (sum(agent.samples for agent in layer.values()) for layer in mixture.layers)
    proposers = " + ".join(map(str, widths))
    return f"{mixture.name}: {proposers} proposers, aggregator {mixture.aggregator.label}"


def list_presets() -> None:
    """Print the presets, with what each needs."""
    from rich.console import Console
    from rich.table import Table

    table = Table("preset", "proposers", "aggregator", "needs", box=None, pad_edge=False)
    for name in preset_names():
        mixture = MoAConfig.load(name)
        agents = [agent for layer in mixture.layers for agent in layer.values()]
        widths = (sum(agent.samples for agent in layer.values()) for layer in mixture.layers)
        keys = [
            f"{key} ({'' if os.environ.get(key) else 'not '}set)" for key in mixture.required_keys()
        ]
        servers = sorted({agent.base_url for agent in agents if agent.base_url})
        needs = ", ".join([*keys, *servers]) or "nothing"
        table.add_row(name, " + ".join(map(str, widths)), mixture.aggregator.label, needs)
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _default_preset() -> str:
    for name in DEFAULT_PRESETS:
        if _has_keys(MoAConfig.load(name)):
            return name
    typer.echo(NO_KEY_NOTICE + (PRESET_HINTS if sys.stderr.isatty() else ""), err=True)
    return OFFLINE_PRESET
