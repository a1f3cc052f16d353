"""`moa ask --cache`: what it saves, what it says, and where it keeps it."""

import json
import sys
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest
from langgraph.cache import sqlite as sqlite_cache
from waiting import PATIENCE

from moa_graph.cli import main
from moa_graph.graph import cache_calls


@pytest.fixture(autouse=True)
def _patience(monkeypatch):
    """A busy machine's cache takes its time."""
    monkeypatch.setattr(cache_calls, "CACHE_TIMEOUT_S", PATIENCE)


@pytest.fixture
def moa(monkeypatch, capsys):
    """Run the command to its end, in this process."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["moa", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return SimpleNamespace(code=ended.value.code, out=told.out, err=told.err)

    return run


def let_cache_run_ahead(monkeypatch):
    """Give a function that puts the clock of LangGraph's cache forward."""
    ahead = timedelta()

    class Ahead(datetime):
        @classmethod
        def now(cls, tz=None):
            return super().now(tz) + ahead

    def put_forward(seconds):
        nonlocal ahead
        ahead += timedelta(seconds=seconds)

    module = SimpleNamespace(datetime=Ahead, timedelta=timedelta, timezone=timezone)
    monkeypatch.setattr(sqlite_cache, "datetime", module)
    return put_forward


@pytest.fixture
def mixture(tmp_path, server):
    server.model("w", reply="the final answer", cached=2)
    agents = "".join(
        f'{name} = {{ model = "openai:{name}", base_url = "{server.url}", max_retries = 0 }}\n'
        for name in ("a", "b", "w")
    )
    prices = '[prices]\n"openai:a" = [1e6, 1e6]\n"openai:b" = [1e6, 1e6]\n"openai:w" = [1e6, 1e6]\n'
    path = tmp_path / "mixture.toml"
    path.write_text(f'layers = [["a", "b"]]\naggregator = "w"\n[agents]\n{agents}{prices}')
    return path


def test_the_second_time_nobody_is_asked_and_it_says_what_was_saved(moa, mixture, server, tmp_path):
    first = moa("ask", "Why?", "--config", mixture, "--cache")
    assert (first.out, first.err) == ("the final answer\n", "")
    calls = len(server.calls)
    paid = json.loads(moa("ask", "Why not?", "--config", mixture, "--json").out)["usage"]
    assert len(server.calls) == 2 * calls == 6

    second = moa("ask", "Why?", "--config", mixture, "--cache", "--thread", "kept")
    assert second.out == "the final answer\n"
    assert len(server.calls) == 6
    assert "3 of 3 answers came from the cache: " in second.err
    assert paid
    assert (tmp_path / "runs.cache.sqlite").is_file()

    shown = moa("show", "kept")
    assert "3 answers from the node cache; cost: $0" in shown.out
    told = json.loads(moa("show", "kept", "--json").out)
    assert told["cost"] == 0
    assert all(p["cached"]["usage"] for p in told["proposals"].values())


def test_mixture_says_how_long_an_answer_counts_and_the_option_overrules_it(
    moa, mixture, server, monkeypatch
):
    later = let_cache_run_ahead(monkeypatch)
    mixture.write_text(f"cache_policy = {{ttl = 60}}\n{mixture.read_text()}")
    for question, options, seconds, calls in [
        ("Why?", ["--cache"], 59, 3),
        ("Why?", ["--cache"], 2, 3),
        ("Why?", ["--cache"], 0, 6),
        ("How?", ["--cache-ttl", "600"], 100, 9),
        ("How?", ["--cache"], 0, 9),
        ("Who?", [], 0, 12),
        ("Who?", [], 0, 15),
    ]:
        moa("ask", question, "--config", mixture, *options)
        assert len(server.calls) == calls
        later(seconds)


def test_without_the_option_everybody_is_asked(moa, mixture, server):
    for _ in range(2):
        moa("ask", "Why?", "--config", mixture)
    assert len(server.calls) == 6


def test_how_long_an_answer_counts_can_be_said(moa, mixture, server):
    moa("ask", "Why?", "--config", mixture, "--cache-ttl", 3600)
    again = moa("ask", "Why?", "--config", mixture, "--cache-ttl", 3600)
    assert "came from the cache" in again.err
    assert len(server.calls) == 3


def test_a_cache_that_cannot_be_used_is_told_in_a_line(moa, mixture, server, tmp_path):
    (tmp_path / "runs.cache.sqlite").write_text("This is no database. " * 100)
    done = moa("ask", "Why?", "--config", mixture, "--cache")
    told = f"{done.err}{done.code}"
    assert "cannot use the cache" in told
    assert "runs.cache.sqlite" in told
    assert "Traceback" not in told
    assert not server.calls


def test_tokens_of_prompt_caches_are_shown(moa, mixture):
    asked = moa("ask", "Why?", "--config", mixture, "--show", "--thread", "seen")
    assert "2 of them from prompt caches" in asked.out
    assert "2 of them from prompt caches" in moa("show", "seen").out
    assert "<b>2</b> tokens from prompt caches" in moa("report", "seen").out
