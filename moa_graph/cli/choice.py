"""Build the question and choose the mixture of a command."""

import os
import stat
import sys
import threading
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path

import typer

from moa_graph.cli.errors import CommandError
from moa_graph.cli.terminal.plain_text import print_warning
from moa_graph.config.model import MoAConfig, preset_names
from moa_graph.prompting.attachments import enclose_file
from moa_graph.validation_errors import suggest_name

DEFAULT_PRESETS = ("together", "openai")
"""Presets used without --preset and --config: the first one whose keys are set."""
OFFLINE_PRESET = "offline"

MAX_QUESTION_BYTES = 10_000_000  # with attachments: more than any model reads
PIPE_NOTICE_SECONDS = 2.0  # seconds without input from a pipe until a note is printed
MISSING_QUESTION = (
    "moa: Missing argument 'QUESTION'; `moa chat` reads questions from standard input"
)
PIPE_NOTICE = "moa: reading standard input; if there is nothing to read, add: < /dev/null"
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
PRESET_HINTS = """\
  real models:   export OPENAI_API_KEY=...      or TOGETHER_API_KEY
  local models:  --preset ollama                with Ollama running; no key
  as it is:      --preset offline --file FILE   without this note"""


def build_question(question: str | None, paths: Sequence[str]) -> str:
    """Append the text of files to a question.

    Raises:
        CommandError: If there is no question, or a file cannot be read as text.
    """
    named = [question, *paths]
    if named.count("-") > 1:
        raise CommandError("standard input can be read only once; give - once, and files by name")
    if question is not None:
        question = _read_question(question)
    piped_text = "" if "-" in named or not _has_piped_text() else _read_text("-", "standard input")
    if question is None:
        question, piped_text = piped_text, ""
        if not question.strip():
            typer.echo(ASK_USAGE if sys.stdin.isatty() else MISSING_QUESTION, err=True)
            raise typer.Exit(2)
    parts = [question, *map(_format_attachment, paths)]
    if piped_text.strip():
        parts.append(enclose_file(piped_text, "standard input"))
    if (size := sum(len(each.encode("utf-8", "replace")) for each in parts)) > MAX_QUESTION_BYTES:
        raise CommandError(_describe_size_limit("the question with its files", size))
    return "\n\n".join(parts)


def _read_question(question: str) -> str:
    """Return the question, or the standard input for `-`."""
    text = _read_text("-", "QUESTION -") if question == "-" else question
    if not text.strip():
        raise CommandError("the question is empty")
    return text


def _has_piped_text() -> bool:
    """Return whether standard input is a pipe, or a file at its beginning.

    A file that was read before belongs to another command, such as a loop of the shell.
    """
    if not isinstance(sys.stdin, TextIOWrapper) or sys.stdin.isatty():
        return False
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
        if stat.S_ISREG(mode):
            return os.lseek(sys.stdin.fileno(), 0, os.SEEK_CUR) == 0
    except (OSError, ValueError):  # no descriptor: an in-memory stream
        return True
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _read_text(path: str, option: str) -> str:
    try:
        data = _read_stdin() if path == "-" else _read_file(Path(path).expanduser())
        if len(data) > MAX_QUESTION_BYTES:
            size = None if path == "-" else Path(path).expanduser().stat().st_size
            raise CommandError(_describe_size_limit(option, size or len(data)))
        return data.decode("utf-8-sig").rstrip()
    except OSError as error:
        raise CommandError(f"{option}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CommandError(f"{option}: not UTF-8 text") from None


def _read_stdin() -> bytes:
    """Read up to the attachment limit, and print a note if nothing arrives."""
    notice = threading.Timer(PIPE_NOTICE_SECONDS, typer.echo, [PIPE_NOTICE], {"err": True})
    notice.daemon = True
    notice.start()
    try:
        first = sys.stdin.buffer.read(1)
    finally:
        notice.cancel()
    return first + sys.stdin.buffer.read(MAX_QUESTION_BYTES)


def _read_file(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_QUESTION_BYTES + 1)


def _describe_size_limit(what: str, size: int) -> str:
    limit = MAX_QUESTION_BYTES // 1_000_000
    return (
        f"{what}: {size / 1e6:,.0f} MB or more; a question may have {limit} MB with all its "
        "files, which is more than a model reads: give a part, such as by "
        "head -c 1M FILE | moa ask QUESTION"
    )


def _format_attachment(path: str) -> str:
    name = "standard input" if path == "-" else " ".join(Path(path).name.replace('"', "'").split())
    return enclose_file(_read_text(path, f"--file {path}"), name)


def load_mixture(
    preset: str | None = None, config: Path | None = None, base_url: str | None = None
) -> MoAConfig:
    """Load the requested mixture, or the default one for the keys that are set.

    Raises:
        CommandError: If two are given, or there is no such preset or server.
        ValueError: If the file is not a valid mixture.
    """
    if preset and config:
        raise CommandError("give --preset or --config, not both")
    if base_url is not None:
        if preset or config:
            raise CommandError("give --base-url, or --preset or --config, not both")
        from moa_graph.cli.served_mixture import load_served_mixture

        return load_served_mixture(base_url)
    if config:
        return MoAConfig.load(config.expanduser())
    if preset and preset not in preset_names():
        if Path(preset).expanduser().is_file():
            raise CommandError(f"--preset: {preset!r} is a file; write --config {preset}")
        suggestion = suggest_name(preset, preset_names())
        raise CommandError(
            f"--preset: no preset {preset!r}; "
            f"expected one of: {', '.join(preset_names())}{suggestion}"
        )
    return MoAConfig.load(preset or _default_preset())


def load_mixtures(presets: Sequence[str], configs: Sequence[Path]) -> dict[str, MoAConfig]:
    """Load the requested mixtures, by name.

    By default they are the presets whose keys are set, and `offline`.

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
    """Load the presets that can run; the first is the default of `moa ask`."""
    presets = [MoAConfig.load(name) for name in preset_names()]
    runnable = [m for m in presets if m.name == OFFLINE_PRESET or _has_keys(m)]
    default = find_default_preset()
    return sorted(runnable, key=lambda mixture: mixture.name != default)


def presets_without_keys() -> list[MoAConfig]:
    """Load the presets whose keys are not all set."""
    presets = [MoAConfig.load(name) for name in preset_names()]
    return [each for each in presets if each.required_keys() and not _has_keys(each)]


def _has_keys(mixture: MoAConfig) -> bool:
    """Return whether a mixture needs keys, and all are set."""
    keys = mixture.required_keys()
    return bool(keys) and all(map(os.environ.get, keys))


def require_api_keys(mixture: MoAConfig, source: str | Path | None = None) -> None:
    """Check that the keys of a mixture are set.

    Args:
        mixture: The mixture.
        source: Its file or preset, if known.

    Raises:
        CommandError: If a key is missing; the message names the keys, the file and the agents.
    """
    required = mixture.agents_by_key()
    if missing := [key for key in required if not os.environ.get(key)]:
        users = "; ".join(f"{key} is for {', '.join(required[key])}" for key in missing)
        place = f" in {source}" if source else ""
        raise CommandError(
            f"{mixture.name!r} needs a key: set {' and '.join(missing)} ({users}{place})"
        )


def describe_mixture(mixture: MoAConfig) -> str:
    """Describe a mixture in a line."""
    proposers = " + ".join(map(str, mixture.layer_widths()))
    return f"{mixture.name}: {proposers} proposers, aggregator {mixture.aggregator.label}"


def list_presets() -> None:
    """Print the presets and their requirements."""
    from moa_graph.cli.terminal.console import print_table
    from moa_graph.cli.terminal.stacked_rows import build_text_table

    rows = list[tuple[str, ...]]()
    for name in preset_names():
        mixture = MoAConfig.load(name)
        agents = [agent for layer in mixture.layers for agent in layer.values()]
        keys = [
            f"{key} ({'' if os.environ.get(key) else 'not '}set)" for key in mixture.required_keys()
        ]
        servers = sorted({agent.base_url for agent in agents if agent.base_url})
        needs = ", ".join([*keys, *servers]) or "nothing"
        proposers = " + ".join(map(str, mixture.layer_widths()))
        rows.append((name, proposers, mixture.aggregator.label, needs))
    headings = ("preset", "proposers", "aggregator", "needs")
    print_table(lambda width: build_text_table(headings, rows, width, header_style="bold"))


def find_default_preset() -> str:
    """Return the name of the default preset."""
    for name in DEFAULT_PRESETS:
        if _has_keys(MoAConfig.load(name)):
            return name
    return OFFLINE_PRESET


def _default_preset() -> str:
    if (preset := find_default_preset()) != OFFLINE_PRESET:
        return preset
    print_warning(NO_KEY_NOTICE)
    if sys.stderr.isatty():
        typer.echo(PRESET_HINTS, err=True)
    return OFFLINE_PRESET
