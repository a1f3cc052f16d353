"""AlpacaEval's gamed baselines, from which the length control is fitted."""

import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from moa_graph.evals.pinned_files import PinnedFile, fetch_pinned_file, find_mismatch
from moa_graph.evals.results_file import JUDGING_MANIFEST

_REVISION = "2edc6fad8be6b14ea7230aabfd08188da6b8b814"
BASELINES_FILE = PinnedFile(
    f"https://huggingface.co/datasets/tatsu-lab/alpaca_eval/resolve/{_REVISION}/df_gamed.csv",
    _REVISION,
    row_count=0,
    sha256="97aeec3f1c7de6dee6fd31fe66f1702623f4614c3efe1c6fc5f4927cd5fd674d",
)
"""The gamed baselines. Two public runners of AlpacaEval check the same revision against this hash;
the hash was not verified against a download."""


@dataclass(frozen=True)
class LengthControlBaselines:
    """The gamed baselines for the length control."""

    columns: Mapping[str, Sequence[float]]
    difficulty: Mapping[int, float]
    """Difficulty of each instruction, by its index in the benchmark."""
    source: str
    sha256: str
    is_published: bool = False
    """Whether it is the published table, by its hash."""


def read_baselines(path: Path | None = None) -> LengthControlBaselines:
    """Read the gamed baselines of AlpacaEval.

    Args:
        path: The file; by default it is downloaded once, at a pinned revision.

    Raises:
        ValueError: If it is not available; the message says what to download.
    """
    file = (
        path.expanduser() if path else fetch_pinned_file(BASELINES_FILE, "--gamed-baselines", None)
    )
    try:
        data = file.read_bytes()
        rows = list(csv.DictReader(data.decode("utf-8-sig").splitlines()))
        names = ("preference", "std_delta_len", "instruction_difficulty")
        columns = {name: [float(row[name]) for row in rows] for name in names}
        indexes = [int(float(row["index"])) for row in rows]
    except OSError as error:
        raise ValueError(f"{file}: {error.strerror}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{file}: expected a table with the columns index, preference, std_delta_len, "
            f"instruction_difficulty: {type(error).__name__}: {error}"
        ) from None
    difficulty = dict[int, float]()
    for index, value in zip(indexes, columns["instruction_difficulty"], strict=True):
        difficulty.setdefault(index, value)  # the first row is used, as in the published code
    source = str(path) if path else BASELINES_FILE.url
    is_published = find_mismatch(BASELINES_FILE, data) is None
    sha256 = hashlib.sha256(data).hexdigest()
    return LengthControlBaselines(columns, difficulty, source, sha256, is_published)


def find_baselines(
    folders: Sequence[Path], path: Path | None = None
) -> LengthControlBaselines | str:
    """Read the gamed baselines if one of the folders needs them.

    Returns:
        The baselines, or why they are missing.

    Raises:
        ValueError: If `path` cannot be read.
    """
    if path:
        return read_baselines(path)
    manifests = [json.loads((folder / JUDGING_MANIFEST).read_text("utf-8")) for folder in folders]
    if not any(
        each["benchmark"] == "alpaca_eval" and each["data"]["revision"] for each in manifests
    ):
        return "the gamed baselines belong to the published instructions, and these are others"
    try:
        return read_baselines()
    except ValueError as error:
        return f"no gamed baselines: {error}"
