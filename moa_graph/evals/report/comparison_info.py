"""The description of a comparison that `moa eval run` stores."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from moa_graph.evals.comparison import COMPARISON_FILE
from moa_graph.evals.results_file import JUDGING_MANIFEST as JUDGING


@dataclass(frozen=True)
class ComparisonInfo:
    """The description of a comparison, as `moa eval run` stored it."""

    named: Sequence[str] = ()
    systems: Sequence[str] = ()
    points: Sequence[Mapping[str, Any]] = ()
    published: Mapping[str, str] = field(default_factory=dict)
    prices: Mapping[str, Sequence[float]] = field(default_factory=dict)
    sizes: Mapping[str, float] = field(default_factory=dict)
    gamed_baselines: str | None = None
    runs: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Runs of each repeated system, in order."""

    @property
    def later_runs(self) -> set[str]:
        """Runs after the first one, which only give the variation of figures."""
        return {run for runs in self.runs.values() for run in runs[1:]}


def read_comparison_info(out: Path) -> ComparisonInfo:
    """Read the description of a comparison; a folder without a plan has no analyses.

    Raises:
        ValueError: If the description cannot be read.
    """
    path = out / COMPARISON_FILE
    if not path.exists():
        return ComparisonInfo()
    try:
        stored = {"runs": {}, **json.loads(path.read_text(encoding="utf-8"))}
        return ComparisonInfo(
            **{name: stored[name] for name in ComparisonInfo.__dataclass_fields__}
        )
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ValueError(f"{path}: not written by moa eval run: {error}") from None


def find_judged_folders(out: Path, comparison: ComparisonInfo) -> tuple[list[Path], list[Path]]:
    """Find the folders of judged systems.

    Returns:
        The folders of the comparison's systems, and other folders; without a plan there are no
        others.

    Raises:
        ValueError: If there is none.
    """
    if not (folders := [path.parent for path in sorted(out.glob(f"*/*/{JUDGING}"))]):
        raise ValueError(
            f"{out}: nothing is judged in it; expected the folder of a comparison, as moa eval run "
            "or moa eval generate and moa eval judge write it"
        )
    system_names = set(comparison.systems) or {folder.name for folder in folders}
    return (
        [folder for folder in folders if folder.name in system_names],
        [folder for folder in folders if folder.name not in system_names],
    )
