"""`moa batch`: order, failures, money, limits, and what a kill leaves behind."""

import asyncio
import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import anyio
import psycopg
import pytest
from clock import Clock
from forked import Forked
from full_disk import full_disk
from waiting import take_turns, wait_for

from moa_graph import MoAConfig
from moa_graph.batch import rate_limits
from moa_graph.batch.input import batch_name
from moa_graph.graph import deadlines
from moa_graph.runs.store import build_run_config, open_run_store
from moa_graph.runs.stored_threads import read_threads
from moa_graph.runs.stored_turns import current_turn_values

MOA = Path(sys.executable).parent / "moa"
AGENTS = ("a", "b", "w")
COUNT = 7


def reply(body):
    """Answer what depends on all that was read, so that a run that went astray shows."""
    read = hashlib.sha256(json.dumps(body["messages"]).encode()).hexdigest()[:8]
    return f"{body['model']} {read}"


def rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def here(tmp_path, server):
    """Seven prompts, a mixture of two layers of the local server's models, and where it goes."""
    server.model("*", reply=reply)
    prompts = [{"prompt": f"question {number}"} for number in range(1, COUNT + 1)]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(p) + "\n" for p in prompts))
    write_mixture(tmp_path / "mixture.toml", server)
    return SimpleNamespace(
        prompts=tmp_path / "prompts.jsonl",
        mixture=tmp_path / "mixture.toml",
        answers=tmp_path / "answers.jsonl",
        failures=tmp_path / "answers.failed.jsonl",
        runs=tmp_path / "answers.sqlite",
    )


def write_mixture(path, server, *, more="", agent=""):
    at = f'base_url = "{server.url}", max_retries = 0{agent}'
    agents = "".join(f'{name} = {{ model = "openai:{name}", {at} }}\n' for name in AGENTS)
    prices = "".join(f'"openai:{name}" = [1_000_000, 1_000_000]\n' for name in AGENTS)
    layers = 'layers = [["a", "b"], ["a", "b"]]\naggregator = "w"\n'
    path.write_text(f'name = "test"\n{layers}{more}[agents]\n{agents}[prices]\n{prices}')


def words(here, *more):
    return ["batch", here.prompts, "-o", here.answers, "-c", here.mixture, *more]


@pytest.fixture
def batch(moa, here):
    return lambda *more: moa(*words(here, *more))


def threads_in(path):
    with closing(sqlite3.connect(path)) as db:
        return {row[0] for row in db.execute("SELECT DISTINCT thread_id FROM checkpoints")}


def test_answers_stand_in_the_order_of_the_input(batch, here, server):
    server.model("a", reply=reply, latency=0.2)
    slow = iter([0.5])
    behaviour = server.model("w", reply=reply)

    def answer(body):
        behaviour.latency = next(slow, 0.0)
        return reply(body)

    behaviour.reply = answer
    done = batch("--concurrency", 4)
    assert done.returncode == 0, done.stderr
    answers = rows(here.answers)
    assert [row["line"] for row in answers] == list(range(1, COUNT + 1))
    assert not here.failures.exists()
    first, second = done.stdout.splitlines()
    assert first.startswith("7 of 7 answered; in this run 35 calls, ")
    assert second == str(here.answers)


def test_a_row_tells_all_that_is_asked_of_it(batch, here, server):
    here.prompts.write_text(
        '{"id": "one", "messages": [{"role": "system", "content": "s"},'
        '{"role": "user", "content": "q"}], "more": 1}\n'
    )
    server.model("b", always=500)
    assert batch().returncode == 0
    (row,) = rows(here.answers)
    assert (row["line"], row["id"]) == (1, "one")
    assert row["answer"].startswith("w ")
    assert row["usage"]["total_tokens"] == pytest.approx(row["cost"])
    assert list(row["failed"]) == ["layer_1_b", "layer_2_b"]
    assert "500" in row["failed"]["layer_1_b"]
    assert row["thread"].startswith("answers-")
    assert server.calls[0].messages[0] == {"role": "system", "content": "s"}


def test_failures_stand_in_a_file_of_their_own_and_are_asked_again(batch, here, server):
    server.model("w", reply=reply, faults=[None, 500, None, 500])
    done = batch("--concurrency", 1)
    assert done.returncode == 1
    assert "2 records have no answer (line 2: no final answer: " in done.stderr
    assert str(here.failures) in done.stderr
    assert [row["line"] for row in rows(here.answers)] == [1, 3, *range(5, COUNT + 1)]
    failures = rows(here.failures)
    assert [row["line"] for row in failures] == [2, 4]
    assert all("scripted failure 500" in row["error"] for row in failures)
    assert {row["thread"] for row in failures} == threads_in(here.runs)
    server.calls.clear()
    again = batch()
    assert again.returncode == 0, again.stderr
    assert [call.model for call in server.calls] == ["w", "w"]
    assert [row["line"] for row in rows(here.answers)] == list(range(1, COUNT + 1))
    assert not here.failures.exists()
    assert again.stdout.startswith("7 of 7 answered; in this run 2 calls, ")


def test_a_text_with_a_prompt_on_each_line_shows_how_to_convert_it(batch, here, server):
    here.prompts.write_text("What is 2+2?\nWhy is the sky blue?\n")
    done = batch()
    assert done.returncode == 1
    assert "jq -cR '{prompt: .}' TEXT > PROMPTS" in done.stderr
    assert "run the command again" not in done.stderr
    assert not server.calls


def test_a_bad_line_is_the_failure_of_that_line(batch, here, server):
    lines = here.prompts.read_text().splitlines()[:2]
    here.prompts.write_text("\n".join([lines[0], '{"prompt": "cut', "", lines[1]]))
    strict = batch("--validate-first")
    assert strict.returncode == 1
    assert "line 2: not JSON" in strict.stderr
    assert not server.calls
    done = batch()
    assert done.returncode == 1
    assert "1 record has no answer (line 2: not JSON: " in done.stderr
    assert 'expected an object, such as {"prompt": "..."}), see ' in done.stderr
    advice = "; 1 line is invalid: correct what is wrong, then run the command again"
    assert done.stderr.endswith(f"{advice}\n")
    assert [row["line"] for row in rows(here.answers)] == [1, 4]
    (failure,) = rows(here.failures)
    assert failure["line"] == 2
    assert failure["error"].startswith("not JSON: ")


def test_without_a_mixture_it_is_the_one_of_the_key_that_is_set(moa, here):
    done = moa("batch", here.prompts, "-o", here.answers, "--limit", 1)
    assert done.returncode == 0
    assert "using preset 'offline'" in done.stderr


def test_a_finished_batch_asks_nothing_and_goes_on_with_lines_that_were_added(batch, here, server):
    assert batch("--limit", 3).returncode == 0
    assert len(rows(here.answers)) == 3
    asked = len(server.calls)
    assert batch("--limit", 2).stdout.startswith("2 of 2 answered; in this run 0 calls")
    assert len(server.calls) == asked
    with here.prompts.open("a") as file:
        file.write('{"prompt": "one more"}\n')
    assert batch().stdout.startswith("8 of 8 answered; in this run 25 calls")
    assert [row["line"] for row in rows(here.answers)] == list(range(1, COUNT + 2))


def test_max_cost_is_not_passed(batch, here, server):
    """All calls cost a dollar a token, and a record's calls read and write the same."""
    whole = batch("--limit", 1)
    assert whole.returncode == 0
    (row,) = rows(here.answers)
    here.answers.unlink()
    most = 4.5 * row["cost"]
    done = batch("--concurrency", 4, "--max-cost", most)
    assert done.returncode == 3
    assert "3 records were left out: " in done.stderr
    answers = rows(here.answers)
    assert len(answers) == 4
    assert sum(each["cost"] for each in answers) <= most
    assert batch().returncode == 0
    assert len(rows(here.answers)) == COUNT


@pytest.mark.parametrize("fallbacks", ['fallbacks = ["a"]\n', ""])
def test_writer_that_gave_nothing_counts_against_the_budget(fallbacks, batch, here, server):
    """Its empty answer costs a million; the run ends with a fallback's answer or with none."""
    write_mixture(here.mixture, server, more=fallbacks)
    dear = {"usage": {"prompt_tokens": 0, "completion_tokens": 1_000_000}}
    server.model("w", completion=dear, always="empty")
    done = batch("--concurrency", 1, "--max-cost", 1000)
    assert done.returncode == 3
    assert len(server.calls_of("w")) == 1
    (row,) = rows(here.answers if fallbacks else here.failures)
    assert row["cost"] > 1_000_000


def test_failed_calls_of_unknown_cost_are_told_and_end_no_batch_with_a_budget(batch, here, server):
    text = here.mixture.read_text()
    here.mixture.write_text(text.replace('"openai:b", ', '"openai:b", timeout = 0.3, '))
    server.model("b", until=lambda: False)
    done = batch("--concurrency", 1, "--max-cost", 1_000_000_000)
    assert done.returncode == 0, done.stderr
    assert "at least $" in done.stdout
    assert {row["cost"] for row in rows(here.answers)} == {None}


def test_causes_of_failures_stay_where_nothing_is_asked(batch, here, server):
    server.model("w", reply=reply, faults=[None, 500, None, 500])
    batch("--concurrency", 1)
    before = here.failures.read_bytes()
    assert batch("--max-cost", 0).returncode == 3
    assert batch("--limit", 1).returncode == 0
    assert here.failures.read_bytes() == before


def test_two_batches_do_not_share_threads(moa, batch, here, server):
    batch_threads = batch_name(here.answers, MoAConfig.load(here.mixture))

    async def hold():
        async with open_run_store(str(here.runs)) as store, store.lock_thread(batch_threads):
            return await asyncio.to_thread(batch)

    done = asyncio.run(hold())
    assert done.returncode == 1
    assert f"batch {batch_threads} is being run by another process" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not server.calls
    assert batch().returncode == 0


def test_threads_of_a_running_batch_are_left_alone(moa, batch, here, server):
    server.model("w", always=500)
    batch("--limit", 2)
    kept = threads_in(here.runs)
    thread, db = min(kept), ("--db", here.runs)

    async def meanwhile(*words):
        name = batch_name(here.answers, MoAConfig.load(here.mixture))
        async with open_run_store(str(here.runs)) as store, store.lock_thread(name):
            return await asyncio.to_thread(moa, *words, *db)

    asked = len(server.calls)
    resumed = asyncio.run(meanwhile("resume", thread))
    assert f"thread {thread} is being run by another process" in resumed.stderr
    pruned = asyncio.run(meanwhile("threads", "--prune", "--keep", 0, "--yes"))
    assert "in use" in pruned.stdout + pruned.stderr
    assert (threads_in(here.runs), len(server.calls)) == (kept, asked)
    server.model("w", reply=reply)
    assert moa("resume", thread, *db).returncode == 0


def test_an_input_that_became_shorter_is_refused(batch, here, server):
    assert batch("--limit", 3).returncode == 0
    asked, before = len(server.calls), here.answers.read_bytes()
    here.prompts.write_text("".join(here.prompts.read_text().splitlines(keepends=True)[:2]))
    done = batch()
    assert done.returncode == 1
    assert "has an answer to line 3, but the input ends with line 2" in done.stderr
    assert done.stderr.count("\n") == 1
    assert (len(server.calls), here.answers.read_bytes()) == (asked, before)
    assert batch("--limit", 2).returncode == 0


def test_max_cost_needs_prices(batch, here):
    here.mixture.write_text(here.mixture.read_text().partition("[prices]")[0])
    done = batch("--max-cost", 1)
    assert done.returncode == 1
    assert "no price is known for openai:a" in done.stderr


def test_what_is_done_on_an_older_run_is_not_spent_now(batch, here, server):
    server.model("w", always=500)
    batch("--limit", 1)
    server.model("w", reply=reply)
    done = batch("--limit", 1)
    (row,) = rows(here.answers)
    (call,) = server.calls_of("w")[1:]
    assert ", in this run 1 calls" not in done.stdout
    assert "in this run 1 calls" in done.stdout
    spent = float(done.stdout.split("$")[1].split()[0])
    assert 0 < spent < row["cost"]
    assert call.answered


def test_threads_of_answered_records_are_dropped_unless_kept(batch, here):
    assert batch("--limit", 2).returncode == 0
    assert threads_in(here.runs) == set()
    assert batch("--keep-threads").returncode == 0
    assert threads_in(here.runs) == {row["thread"] for row in rows(here.answers)[2:]}


def test_standard_input_is_read(moa, here):
    done = moa("batch", "-", *words(here)[2:], "--limit", 2, stdin=here.prompts.read_text())
    assert done.returncode == 0, done.stderr
    assert len(rows(here.answers)) == 2


def test_named_pipe_is_read(moa, here, tmp_path):
    os.mkfifo(pipe := tmp_path / "pipe")
    writer = threading.Thread(target=lambda: pipe.write_text(here.prompts.read_text()))
    writer.start()
    done = moa("batch", pipe, *words(here)[2:], "--limit", 2)
    writer.join()
    assert done.returncode == 0, done.stderr
    assert len(rows(here.answers)) == 2


def test_another_mixture_or_input_is_refused_and_nothing_is_lost(batch, here, server):
    assert batch("--limit", 2).returncode == 0
    before, asked = here.answers.read_bytes(), len(server.calls)
    write_mixture(here.mixture, server, agent=", temperature = 0.1")
    assert "answers of another mixture" in batch().stderr
    write_mixture(here.mixture, server, more="quorum = 2\n", agent=", timeout = 60.0")
    assert batch("--limit", 2).returncode == 0
    here.prompts.write_text(here.prompts.read_text().replace("question 2", "question two"))
    assert "another prompt than that of line 2" in batch().stderr
    assert len(server.calls) == asked
    assert here.answers.read_bytes() == before


@pytest.mark.parametrize("text", ["somebody's notes", '{"id": 1}\n', '{"line": 1}\n'])
def test_a_file_of_somebody_else_is_left_alone(batch, here, text, server):
    here.answers.write_text(text)
    done = batch()
    assert done.returncode == 1
    assert "choose another --out" in done.stderr
    assert done.stderr.count("\n") == 1
    assert here.answers.read_text() == text
    assert not server.calls


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            ("batch", "/nowhere.jsonl", "-o", "out.jsonl", "-p", "offline"),
            "/nowhere.jsonl: no such file",
        ),
        (("batch", "PROMPTS", "-o", "/nowhere/out.jsonl", "-p", "offline"), "no folder /nowhere"),
        (("batch", "PROMPTS", "-o", ".", "-p", "offline"), "--out .: is a folder; expected a file"),
        (("batch", "PROMPTS", "-o", "/", "-p", "offline"), "--out /: is a folder; expected a file"),
        (("batch", "PROMPTS", "-o", "FIFO", "-p", "offline"), "--out FIFO: expected a file, got"),
        (("batch", "PROMPTS", "-o", "PROMPTS", "-p", "offline"), "choose another --out"),
        (("batch", "PROMPTS", "-o", "x.sqlite", "-p", "offline"), "x.sqlite is the database"),
        (
            ("batch", "PROMPTS", "-o", "x.jsonl", "-p", "ollama", "--rpm", "x"),
            "--rpm x: expected a",
        ),
        (("batch", "PROMPTS", "-o", "x.jsonl", "-p", "ollama", "--tpm", "you=1"), "got 'you'"),
    ],
)
def test_mistakes_are_told_in_a_line(moa, here, monkeypatch, tmp_path, change, told):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("FIFO")
    done = moa(*(here.prompts if word == "PROMPTS" else word for word in change))
    assert done.returncode
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_file_without_a_record_is_told(moa, here, content):
    here.prompts.write_text(content)
    done = moa("batch", here.prompts, "-o", here.answers, "-c", here.mixture)
    assert done.returncode == 0
    warning = 'has no record; expected lines such as {"prompt": "..."}'
    assert done.stderr == f"moa: {here.prompts} {warning}\n"


@pytest.mark.process
@pytest.mark.parametrize("full", [True, False])
def test_out_that_cannot_be_written_costs_nothing(here, server, full):
    out = here.answers if full else Path("/proc/answers.jsonl")
    words = [MOA, "batch", here.prompts, "-o", out, "-c", here.mixture, "--db", "x.sqlite"]
    options = {"cwd": here.answers.parent} | (full_disk(9000) if full else {})
    done = subprocess.run(words, capture_output=True, text=True, check=False, **options)
    assert (done.returncode, done.stdout, server.calls) == (1, "", [])
    assert done.stderr.startswith(f"moa: --out {out}: cannot be written: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("out", ["folder", "FIFO"])
def test_out_that_is_no_file_leaves_nothing_behind(moa, here, tmp_path, out):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "FIFO")
    before = sorted(tmp_path.rglob("*"))
    assert moa("batch", here.prompts, "-o", tmp_path / out, "-p", "offline").returncode == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_interrupted_batch_says_how_to_go_on(batch, here, server):
    def interrupt():
        wait_for(lambda: server.calls_of("w"))
        os.kill(os.getpid(), signal.SIGINT)

    server.model("w", always="hang")
    threading.Thread(target=interrupt).start()
    done = batch()
    assert done.returncode == 130
    assert "interrupted; 0 of 7 are answered: run the command again to continue" in done.stderr
    server.model("w", reply=reply)
    server.calls.clear()
    assert batch().returncode == 0
    assert len(server.calls_of("w")) == COUNT
    assert len(server.calls_of("a")) < 2 * COUNT


async def stored(here):
    """What the database and the answers hold: question, layer, agent."""
    kept = set()
    graph = MoAConfig.load(here.mixture).graph(lazy=True)
    async with open_run_store(str(here.runs)) as store:
        compiled = graph.compile(checkpointer=store.checkpointer)
        for thread in await read_threads(store.checkpointer):
            config = build_run_config(thread.id, thread.config)
            values = current_turn_values(compiled, await compiled.aget_state(config))
            question = thread.question
            kept |= {(question, p["layer"], p["agent"]) for p in values["proposals"].values()}
            kept |= {(question, 3, "w")} if thread.is_finished else set()
    for line in here.answers.read_text().split("\n")[:-1]:
        question = f"question {json.loads(line)['line']}"
        kept |= {(question, layer, agent) for layer in (1, 2) for agent in "ab"}
        kept.add((question, 3, "w"))
    return kept


def made(calls):
    keys = []
    for call in calls:
        layer = 3 if call.model == "w" else len(call.messages)
        keys.append((call.messages[-1]["content"], layer, call.model))
    return keys


@pytest.mark.process
async def test_a_killed_batch_repeats_no_stored_call(here, server, moa):
    killed = threading.Event()
    server.model("a", reply=reply, latency=0.1)
    server.model("w", reply=reply, until=lambda: killed.is_set() or len(server.calls) < 20)
    more = ("--concurrency", 3)
    process = Forked([MOA, *words(here, *more)])
    await asyncio.to_thread(wait_for, lambda: here.answers.exists() and here.answers.stat().st_size)
    second = await asyncio.to_thread(partial(moa, *words(here)))
    process.kill()
    process.communicate()
    server.settle()
    killed.set()
    assert "another process is working" in second.stderr
    kept, asked = await stored(here), len(server.calls)
    assert kept
    with here.answers.open("ab") as file:  # as if it had been killed while it wrote
        file.write(b'{"line": 9, "id": 9, "ans')
    done = await asyncio.to_thread(partial(moa, *words(here, *more)))
    assert done.returncode == 0, done.stderr
    assert kept <= set(made(server.calls[:asked]))
    assert not kept & set(made(server.calls[asked:]))
    answers = rows(here.answers)
    assert [row["line"] for row in answers] == list(range(1, COUNT + 1))
    here.answers.rename(here.answers.with_name("killed.jsonl"))
    assert (await asyncio.to_thread(partial(moa, *words(here)))).returncode == 0
    assert [row["answer"] for row in rows(here.answers)] == [row["answer"] for row in answers]


def test_a_limited_endpoint_is_asked_no_faster_and_waiting_is_no_timeout(
    batch, here, server, monkeypatch
):
    """One call at a time; the clock stands still but while one waits for its turn."""
    write_mixture(here.mixture, server, agent=", timeout = 60.0")
    here.mixture.write_text(here.mixture.read_text().replace('["a", "b"]', '["a"]'))
    clock = Clock(monkeypatch, rate_limits, deadlines)

    async def sleep(seconds):
        clock.advance(seconds)
        await take_turns()

    monkeypatch.setattr(rate_limits, "asyncio", SimpleNamespace(sleep=sleep, Lock=asyncio.Lock))
    before = clock()
    done = batch("--limit", 2, "--rpm", 0.5, "--concurrency", 1)
    assert done.returncode == 0, done.stderr
    assert all(not row["failed"] for row in rows(here.answers))
    assert len(server.calls) == 6
    assert clock() - before > (6 - 1) * 60 / 0.5


def test_a_client_waits_as_long_as_a_busy_endpoint_says(batch, here, server, monkeypatch):
    slept, sleep = [], anyio.sleep

    async def note(seconds):
        slept.append(seconds)
        await sleep(0)

    monkeypatch.setattr(anyio, "sleep", note)
    here.mixture.write_text(here.mixture.read_text().replace("max_retries = 0", "max_retries = 2"))
    server.model("a", reply=reply, faults=[429, 429], retry_after=7)
    done = batch("--limit", 1)
    assert done.returncode == 0, done.stderr
    (row,) = rows(here.answers)
    assert not row["failed"]
    assert len(server.calls_of("a")) == 4
    assert slept == [7, 7]


def test_runs_may_be_kept_in_postgresql(batch, here, server, postgres):
    server.model("w", reply=reply, faults=[500])
    assert batch("--db", postgres, "--concurrency", 1, "--limit", 3).returncode == 1
    server.calls.clear()
    done = batch("--db", postgres, "--limit", 3)
    assert done.returncode == 0, done.stderr
    assert [call.model for call in server.calls] == ["w"]
    assert len(rows(here.answers)) == 3
    assert not here.runs.exists()
    with psycopg.connect(postgres) as db:
        assert db.execute("SELECT count(*) FROM checkpoints").fetchone() == (0,)


def test_a_database_that_fails_ends_the_batch(batch, here, server):
    server.model("w", reply=reply, faults=[500])
    batch("--limit", 1)
    with closing(sqlite3.connect(here.runs)) as db:
        db.execute(
            "CREATE TRIGGER full BEFORE INSERT ON writes BEGIN SELECT raise(FAIL, 'full'); END"
        )
    server.calls.clear()
    done = batch("--concurrency", 1)
    assert done.returncode == 1
    assert "cannot use the database" in done.stderr
    assert len(server.calls) <= 2
