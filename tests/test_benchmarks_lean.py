"""The benchmarks of streaming, sync calls and telemetry run, and their tables are whole."""

import json
import logging
import runpy
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent / "benchmarks"


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """Run a benchmark, small, and read the file that it writes."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.delitem(sys.modules, "server", raising=False)  # the tests have another

    def run(name):
        out = tmp_path / "figures.json"
        monkeypatch.setattr(sys, "argv", [name, "--quick", "--json", str(out)])
        runpy.run_path(str(BENCHMARKS / f"{name}.py"), run_name="__main__")
        return json.loads(out.read_text())["rows"]

    return run


@pytest.mark.slow
def test_streaming_benchmark_counts_the_calls_that_are_streamed(quick):
    rows = {row.pop("run"): row for row in quick("stream")}
    streamed = {run: row["streamed calls"] for run, row in rows.items()}
    assert streamed == {
        "ainvoke": 0,
        "proposers hidden (default)": 1,
        "all streamed": 7,
        "by hand": 1,
    }
    assert all(row["CPU / ainvoke"] > 0 for row in rows.values())


@pytest.mark.slow
def test_sync_benchmark_compares_with_few_threads(quick):
    (row,) = quick("sync")
    assert row.pop("proposers a layer") == 2
    assert len(row) == 3
    assert all(ratio > 0.9 for ratio in row.values())


@pytest.mark.slow
def test_telemetry_benchmark_compares_with_no_telemetry(quick, monkeypatch):
    logger = logging.getLogger("moa_graph")
    monkeypatch.setattr(logger, "handlers", [])
    monkeypatch.setattr(logger, "level", logger.level)
    rows = {row["telemetry"]: row for row in quick("telemetry")}
    assert list(rows) == ["none", "log", "log, metrics", "log, metrics, traces"]
    assert rows["none"]["more, %"] == 0
    assert all(row["CPU of a run, ms"] > 0 for row in rows.values())
