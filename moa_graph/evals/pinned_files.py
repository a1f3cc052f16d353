"""Published files, downloaded once at a pinned revision and verified."""

import hashlib
import json
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import HTTPError

from platformdirs import user_cache_path

from moa_graph.atomic_files import replaced_file

DOWNLOAD_TIMEOUT_S = 60  # timeout in seconds


@dataclass(frozen=True)
class PinnedFile:
    """The address and the expected content of a published file."""

    url: str
    revision: str
    row_count: int
    size: int | None = None
    """Size in bytes, if no hash is known: the revision in the address already pins the file."""
    sha256: str | None = None

    @property
    def file_name(self) -> str:
        """Name of the file."""
        return self.url.rpartition("/")[2]


@dataclass(frozen=True)
class JudgeFileOrigin:
    """The sources of a file that a judge reads."""

    pinned_file: PinnedFile
    package: str | None = None
    """Python package that contains it at `package_path`."""
    package_path: str = ""
    prompt_sha256: Mapping[str, str] = field(default_factory=dict)
    """Hashes of the needed prompts of a JSON Lines file, by `name`; see `hash_prompts`. A file with
    these prompts counts as the published one."""
    own: Path | None = None
    """Replacement for `--builtin-prompt` and for the stand-in judge."""


def hash_prompts(text: str) -> dict[str, str]:
    """Return the hash of each prompt (system prompt and template) of a JSON Lines file."""
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
    """Return a file of the data set from the cache, or download and verify it.

    Args:
        pinned_file: The file.
        option: Option of the command line for a local path, for the error.
        plan_key: Key of a plan for a local path, if there is one.
        alternative: Another possibility, for the error.

    Raises:
        ValueError: If it is not available, or differs.
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
        raise ValueError(f"{pinned_file.url} has changed: {mismatch}; {advice}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced_file(path, keep_mode=True) as file:
        file.write(data)
    return path


def find_mismatch(pinned_file: PinnedFile, data: bytes) -> str | None:
    """Describe how data differ from a pinned file; `None` if they do not."""
    sha256 = hashlib.sha256(data).hexdigest()
    if pinned_file.sha256 and sha256 != pinned_file.sha256:
        return f"sha256 {sha256}, expected {pinned_file.sha256}"
    if pinned_file.size and len(data) != pinned_file.size:
        return f"{len(data):,} bytes, expected {pinned_file.size:,}"
    return None
