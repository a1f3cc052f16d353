"""The benchmarks of the tail and of prompt caches give whole tables."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

BENCHMARKS = Path(__file__).parent / "benchmarks"


def figures(name, tmp_path):
    path = tmp_path / "figures.json"
    command = [sys.executable, BENCHMARKS / f"{name}.py", "--quick", "--json", path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    whole = json.loads(path.read_text())
    assert all(str(row[next(iter(row))]) in done.stdout for row in whole["rows"])
    return whole


def test_the_tail_has_a_row_for_each_way_to_wait(tmp_path):
    whole = figures("tail", tmp_path)
    first, *others = whole["rows"]
    assert (first["variant"], first["proposals lost"]) == ("wait for all", "0.0%")
    assert len(others) == 7
    assert all(0 < row["p50 s"] <= row["p95 s"] <= row["p99 s"] for row in whole["rows"])
    assert whole["facts"]["proposals_cut_off"] > 0
    assert any(row["calls hedged"] != "0.0%" for row in others if "hedge" in row["variant"])


@pytest.fixture(scope="module")
def prefixes(tmp_path_factory):
    rows = figures("prefix", tmp_path_factory.mktemp("prefix"))["rows"]
    return {(row["references in"], row["call"]): row for row in rows}


def test_references_in_the_user_message_leave_the_conversation_in_front(prefixes):
    reused = {
        layout: int(prefixes[layout, "the whole turn"]["reused"].removesuffix("%"))
        for layout in ("system", "user")
    }
    assert reused["system"] < reused["user"]
    assert prefixes["system", "layer 2"]["as turns before"] < 1024
    assert prefixes["user", "layer 2"]["as turns before"] > 1024


def test_samples_of_a_layer_read_the_same(prefixes):
    for layout in ("system", "user"):
        row = prefixes[layout, "layer 2"]
        assert row["as its layer"] == row["reads"]
