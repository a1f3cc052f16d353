"""The prompts of the judges: they are the benchmark, so they are loaded as published.

They come from the benchmark's own package where that is installed, or else are downloaded once,
from a pinned place; a hash tells whether they are the published ones.
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
    """A file that a judge needs, and where it is from."""

    text: str
    kind: FileKind
    """Whether it is the published one, another that was given, or our own."""
    location: str
    sha256: str


def load_judge_file(
    benchmark: Benchmark, part: str, path: str | Path | None = None, *, own: bool = False
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
    """Find the file in an installed package, without importing that."""
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
    """Tell whether a file is the published one, or has the same prompts as far as they are read."""
    if sha256 == origin.pinned_file.sha256:
        return True
    return bool(origin.prompt_sha256) and origin.prompt_sha256.items() <= hash_prompts(text).items()
