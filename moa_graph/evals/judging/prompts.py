"""The prompts of the judges: they are the benchmark, so they are loaded as published.

They come from the benchmark's own package where that is installed, or else are downloaded once,
from a pinned place; a hash tells whether they are the published ones.
"""

import hashlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from moa_graph.evals.datasets import PinnedFile, fetch_pinned_file

FileKind = Literal["published", "given", "own"]
JudgeFileName = Literal["prompt", "reference_answers", "skills"]

_OWN_FOLDER = Path(__file__).parent / "own"
_FASTCHAT = "https://raw.githubusercontent.com/lm-sys/FastChat/"
_FLASK = "https://raw.githubusercontent.com/togethercomputer/MoA/"
_FLASK_REVISION = "819420ff2240a391271f9faf035e9a5f3216cb9c"


@dataclass(frozen=True)
class FileOrigin:
    """Where a file is to be had."""

    pinned_file: PinnedFile
    package: str | None = None
    """The Python package that has it too, at `package_path`."""
    package_path: str = ""
    own: str | None = None
    """What we have instead, in our own words."""


@dataclass(frozen=True)
class JudgeFile:
    """A file that a judge needs, and where it is from."""

    text: str
    kind: FileKind
    """Whether it is the published one, another that was given, or our own."""
    location: str
    sha256: str


def _pinned_prompt_file(url: str, revision: str, sha256: str) -> PinnedFile:
    return PinnedFile(url.format(revision=revision), revision, row_count=0, sha256=sha256)


FILE_ORIGINS: Mapping[tuple[str, JudgeFileName], FileOrigin] = {
    ("alpaca_eval", "prompt"): FileOrigin(
        _pinned_prompt_file(
            "https://raw.githubusercontent.com/tatsu-lab/alpaca_eval/{revision}/src/alpaca_eval/"
            "evaluators_configs/alpaca_eval_clf_gpt4_turbo/alpaca_eval_clf.txt",
            "main",
            "784227e6dc2832fc08c43d2c8ea3a308e7523780187a1aaad2f85e30bac85f62",
        ),
        "alpaca_eval",
        "evaluators_configs/alpaca_eval_clf_gpt4_turbo/alpaca_eval_clf.txt",
        own="alpaca_eval.txt",
    ),
    ("mt_bench", "prompt"): FileOrigin(
        _pinned_prompt_file(
            _FASTCHAT + "{revision}/fastchat/llm_judge/data/judge_prompts.jsonl",
            "0e6e7fdc78bf64aceea1508694ce4e6472810b8b",
            "8baddf43f95f8c1a88166163b171f1cd68e9d8ce8606f867734d4b0efe38b98d",
        ),
        "fastchat",
        "llm_judge/data/judge_prompts.jsonl",
        own="mt_bench.jsonl",
    ),
    ("mt_bench", "reference_answers"): FileOrigin(
        _pinned_prompt_file(
            _FASTCHAT + "{revision}/fastchat/llm_judge/data/mt_bench/reference_answer/gpt-4.jsonl",
            "587d5cfa1609a43d192cedb8441cac3c17db105d",
            "f957a5bc977badb66885ec970e6cd08527845780313f0995764260e5777b9b3f",
        ),
        "fastchat",
        "llm_judge/data/mt_bench/reference_answer/gpt-4.jsonl",
    ),
    ("flask", "prompt"): FileOrigin(
        _pinned_prompt_file(
            _FLASK + "{revision}/FLASK/gpt_review/src/prompt.jsonl",
            _FLASK_REVISION,
            "64836bb1eb6940e7ddbbbf0ea66265191bfd49476036ca15fc2660bbfa326134",
        ),
        own="flask.jsonl",
    ),
    ("flask", "skills"): FileOrigin(
        _pinned_prompt_file(
            _FLASK + "{revision}/FLASK/metadata_annotation/skillset/src/skillset_description.json",
            _FLASK_REVISION,
            "78f03c29f5a6510b76b8a765cb539c302d69898b7e4d7c68372c9cc2427e595e",
        ),
        own="flask_skills.json",
    ),
}
"""The hashes of `alpaca_eval` and of the references and skills were taken from the files; those
of the other two prompts from stored copies of the named revision, which could not be downloaded
to compare."""


def load_judge_file(
    benchmark: str, part: JudgeFileName, path: str | Path | None = None, *, own: bool = False
) -> JudgeFile:
    """Load a file that a benchmark's judge needs.

    Args:
        benchmark: Which benchmark.
        part: Which file.
        path: Where another one stands, which is taken as it is.
        own: Take our own words instead of the published ones.

    Returns:
        The file. Its `kind` says whether it is the published one.

    Raises:
        ValueError: If it cannot be had, or is not what was published; the message says what to
            fetch and where to put it.
    """
    origin, option = FILE_ORIGINS[benchmark, part], f"--{part.replace('_', '-')}"
    if path:
        return _read_judge_file(Path(path).expanduser(), origin.pinned_file.sha256)
    if own and origin.own:
        return _read_judge_file(_OWN_FOLDER / origin.own, None, "own")
    if installed := _find_installed(origin):
        source = _read_judge_file(installed, origin.pinned_file.sha256)
        if source.kind != "published":
            raise ValueError(
                f"{installed} of the installed package is not the published file: sha256 "
                f"{source.sha256}, expected {origin.pinned_file.sha256}; to use it all the "
                f"same, and have "
                f"that said everywhere: {option} {installed}"
            )
        return source
    source = _read_judge_file(
        fetch_pinned_file(origin.pinned_file, option), origin.pinned_file.sha256
    )
    return JudgeFile(source.text, source.kind, origin.pinned_file.url, source.sha256)


def _find_installed(origin: FileOrigin) -> Path | None:
    """Find the file in an installed package, without importing that."""
    package_spec = importlib.util.find_spec(origin.package) if origin.package else None
    candidates = (
        Path(folder, origin.package_path)
        for folder in (package_spec and package_spec.submodule_search_locations) or ()
    )
    return next((place for place in candidates if place.is_file()), None)


def _read_judge_file(path: Path, published: str | None, kind: FileKind = "given") -> JudgeFile:
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not UTF-8 text") from None
    sha256 = hashlib.sha256(data).hexdigest()
    location = f"moa_graph: {path.name}" if kind == "own" else str(path)
    return JudgeFile(text, "published" if sha256 == published else kind, location, sha256)
