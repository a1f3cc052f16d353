"""Published prompts of the judges.

They come from the benchmark's own package if it is installed, and otherwise are downloaded once
from a pinned revision. A hash tells whether they are the published ones.
"""

import hashlib
import importlib.util
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from moa_graph.evals.benchmarks.protocol import Benchmark
from moa_graph.evals.pinned_files import JudgeFileOrigin, fetch_pinned_file, hash_prompts

FileKind = Literal["published", "given", "own"]


@dataclass(frozen=True)
class JudgeFile:
    """A file of a judge, and its source."""

    text: str
    kind: FileKind
    """Whether it is the published file, one of the user, or one of this package."""
    location: str
    sha256: str


def load_judge_file(
    benchmark: Benchmark, part: str, path: str | Path | None = None, *, own: bool = False
) -> JudgeFile:
    """Load a file that a benchmark's judge needs.

    Args:
        benchmark: The benchmark.
        part: The part: `prompt`, `reference_answers` or `skills`.
        path: Another file, which is used as it is.
        own: Whether to use the prompt of this package instead of the published one.

    Returns:
        The file. Its `kind` says whether it is the published one.

    Raises:
        ValueError: If it is not available, or differs from the published one; the message says what
            to download and where to put it.
    """
    origin, option = benchmark.judge_files[part], f"--{part.replace('_', '-')}"
    if path:
        return _read_judge_file(Path(path).expanduser(), origin)
    if own and origin.own:
        return replace(
            _read_judge_file(origin.own), kind="own", location=f"moa_graph: {origin.own.name}"
        )
    if installed := _find_installed(origin):
        source = _read_judge_file(installed, origin)
        if source.kind != "published":
            raise ValueError(
                f"{installed} of the installed package is not the published file: sha256 "
                f"{source.sha256}, expected {origin.pinned_file.sha256}; to use it all the "
                f"same, and have "
                f"that said everywhere: {option} {installed}"
            )
        return source
    builtin = " take one in our words (--builtin-prompt; in a plan builtin_prompt = true),"
    file = fetch_pinned_file(origin.pinned_file, option, part, builtin if origin.own else "")
    source = _read_judge_file(file, origin)
    return replace(source, location=origin.pinned_file.url)


def _find_installed(origin: JudgeFileOrigin) -> Path | None:
    """Find the file of an installed package without importing it."""
    package_spec = importlib.util.find_spec(origin.package) if origin.package else None
    candidates = (
        Path(folder, origin.package_path)
        for folder in (package_spec and package_spec.submodule_search_locations) or ()
    )
    return next((place for place in candidates if place.is_file()), None)


def _read_judge_file(path: Path, origin: JudgeFileOrigin | None = None) -> JudgeFile:
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not UTF-8 text") from None
    sha256 = hashlib.sha256(data).hexdigest()
    is_published = origin is not None and _is_published(origin, text, sha256)
    return JudgeFile(text, "published" if is_published else "given", str(path), sha256)


def _is_published(origin: JudgeFileOrigin, text: str, sha256: str) -> bool:
    """Return whether a file is the published one, or has the same needed prompts."""
    if sha256 == origin.pinned_file.sha256:
        return True
    return bool(origin.prompt_sha256) and origin.prompt_sha256.items() <= hash_prompts(text).items()
