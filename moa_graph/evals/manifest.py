"""The manifest of a folder of answers, which contains everything to repeat them."""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from moa_graph.atomic_files import write_text
from moa_graph.config.model import MoAConfig
from moa_graph.evals.benchmark_data import BenchmarkData
from moa_graph.evals.results_file import JsonRow, ResultsFile
from moa_graph.evals.single_model import read_stored_config
from moa_graph.models.providers import replayed_file
from moa_graph.stored_names import translate_options

_PACKAGES = ("moa_graph", "langgraph", "langchain-core", "langchain-openai", "langchain-together")


def check_folder_matches(folder: Path, config: MoAConfig, benchmark: BenchmarkData) -> None:
    """Check that a folder is empty or has the answers of this mixture to these data.

    Raises:
        ValueError: If it has other answers.
    """
    path = folder / "manifest.json"
    if not path.exists():
        return
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
        config_before = read_stored_config(translate_options(before["configuration"]))
        stored = {**_dump_config(config_before), "data": before["data"]["sha256"]}
        stored["recorded"] = before["recorded"]
    except (OSError, ValueError, KeyError, TypeError):
        raise ValueError(f"{path}: not a manifest of moa eval generate") from None
    now = {
        **_dump_config(config),
        "data": benchmark.sha256,
        "recorded": _hash_recorded_files(config),
    }
    if differing := [key for key in now if key != "prices" and now[key] != stored.get(key)]:
        raise ValueError(
            f"{folder} holds answers of another mixture or to other data (it differs in: "
            f"{', '.join(differing)}); choose another --name or --out"
        )


def write_manifest(
    folder: Path, name: str, config: MoAConfig, benchmark: BenchmarkData, results: ResultsFile
) -> None:
    """Write `manifest.json`."""
    rows = [row for item in benchmark.items if (row := results.rows.get(item.id))]
    answered = len(results.answered_rows(benchmark.items))
    costs, tokens = (
        list(_call_values(rows, "cost")),
        [u["total_tokens"] for u in _call_values(rows, "usage") if u],
    )
    at_least, unknown = sum(cost for cost in costs if cost is not None), costs.count(None)
    manifest = {
        "system": name,
        "benchmark": benchmark.name,
        "whole": answered == benchmark.full_size,
        "items": {
            "in_the_benchmark": benchmark.full_size,
            "asked_for": len(benchmark.items),
            "answered": answered,
            "failed": len(rows) - answered,
        },
        "tokens": sum(tokens),
        "cost": None if unknown else at_least,
        "cost_at_least": at_least,
        "calls_of_unknown_cost": unknown,
        "data": {
            "source": benchmark.source,
            "sha256": benchmark.sha256,
            "revision": benchmark.revision,
        },
        "configuration": _dump_config(config),
        "recorded": _hash_recorded_files(config),
        "versions": package_versions(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_text(folder / "manifest.json", json.dumps(manifest, indent=2, ensure_ascii=False))


def package_versions() -> dict[str, str]:
    """Return the versions of packages that can change an answer."""
    return {package: version(package) for package in _PACKAGES}


def _dump_config(config: MoAConfig) -> dict[str, Any]:
    return config.model_dump(mode="json")


def _hash_recorded_files(config: MoAConfig) -> dict[str, str]:
    """Return the hash of each replayed file, whose content is a part of the mixture."""
    agents = [*(a for layer in config.layers for a in layer.values()), config.aggregator]
    labels = [agent.label for agent in (*agents, *config.fallbacks, *config.helpers)]
    names = {name for label in labels if (name := replayed_file(label))}
    paths = {name: Path(name).expanduser() for name in sorted(names)}
    return {name: sha256(p.read_bytes()).hexdigest() for name, p in paths.items() if p.is_file()}


def _call_values(rows: Iterable[JsonRow], key: str) -> Iterator[Any]:
    """Return a value of each call that is billed, or may be."""
    for row in rows:
        for turn in row["turns"]:
            others = (*turn.get("failed_writers", ()), *turn.get("decisions", ()))
            calls = filter(None, (*turn["proposals"].values(), *others, turn["aggregator"]))
            yield from (call.get(key) for call in calls if _is_billed(call))


def _is_billed(call: JsonRow) -> bool:
    return bool(not call.get("error") or call.get("usage") or call.get("may_be_billed"))
