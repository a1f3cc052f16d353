"""Published files that are downloaded once, at a pinned revision, and checked."""

import hashlib
import json
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import HTTPError

from platformdirs import user_cache_path

from moa_graph.atomic_files import replaced_file

DOWNLOAD_TIMEOUT_S = 60  # that a server may be silent


@dataclass(frozen=True)
class PinnedFile:
    """Where a published file stands, and what must be in it."""

    url: str
    revision: str
    row_count: int
    size: int | None = None
    """Bytes, where no hash is known: the revision in the address is one."""
    sha256: str | None = None

    @property
    def file_name(self) -> str:
        """Name of the file."""
        return self.url.rpartition("/")[2]


@dataclass(frozen=True)
class JudgeFileOrigin:
    """Where a file that a judge reads is to be had."""

    pinned_file: PinnedFile
    package: str | None = None
    """The Python package that has it too, at `package_path`."""
    package_path: str = ""
    prompt_sha256: Mapping[str, str] = field(default_factory=dict)
    """Of each prompt that is read of a file of several in JSON lines, by `name`: see
    `hash_prompts`. A file that has these is the published one, whatever else stands in it."""
    own: Path | None = None
    """What is read instead with `--builtin-prompt`, and by the stand-in for a judge."""


def hash_prompts(text: str) -> dict[str, str]:
    """Give the hash of each prompt of a file in JSON lines: of its system prompt and template."""
    try:
        rows = [json.loads(line) for line in text.splitlines() if line.strip()]
        prompts = {row["name"]: [row["system_prompt"], row["prompt_template"]] for row in rows}
    except (ValueError, LookupError, TypeError, RecursionError):
        return {}
    return {
        name: hashlib.sha256(json.dumps(parts).encode()).hexdigest()
        for name, parts in prompts.items()
    }


def fetch_pinned_file(
    pinned_file: PinnedFile,
    option: str = "--data",
    plan_key: str | None = "data",
    alternative: str = "",
) -> Path:
    """Give a file of the data set from the cache, or download it and check it.

    Args:
        pinned_file: The file.
        option: How the command line is told where it stands, for the error.
        plan_key: How a plan is told it, if that is possible.
        alternative: What else could be done, for the error.

    Raises:
        ValueError: If it cannot be had, or is another one.
    """
    path = (
        user_cache_path("moa_graph") / "benchmarks" / pinned_file.revision / pinned_file.file_name
    )
    if path.is_file() and not find_mismatch(pinned_file, path.read_bytes()):
        return path
    in_plan = f'; in a plan {plan_key} = "FILE"' if plan_key else ""
    advice = (
        f"fetch it elsewhere and give its path ({option} FILE{in_plan}),{alternative} or put it at "
        f"{path}"
    )
    try:
        with urllib.request.urlopen(pinned_file.url, timeout=DOWNLOAD_TIMEOUT_S) as response:  # noqa: S310  # as pinned
            data = response.read()
    except OSError as error:
        if isinstance(error, HTTPError):
            error.close()
        raise ValueError(f"{pinned_file.url} cannot be downloaded ({error}); {advice}") from None
    if mismatch := find_mismatch(pinned_file, data):
        raise ValueError(f"{pinned_file.url} is not what it was: {mismatch}; {advice}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced_file(path, keep_mode=True) as file:
        file.write(data)
    return path


def find_mismatch(pinned_file: PinnedFile, data: bytes) -> str | None:
    """Say how data differ from what a pinned file must be; `None` if they do not."""
    sha256 = hashlib.sha256(data).hexdigest()
    if pinned_file.sha256 and sha256 != pinned_file.sha256:
        return f"sha256 {sha256}, expected {pinned_file.sha256}"
    if pinned_file.size and len(data) != pinned_file.size:
        return f"{len(data):,} bytes, expected {pinned_file.size:,}"
    return None
