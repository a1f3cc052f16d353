"""`moa batch --engine ray`: records spread over a cluster, and what a lost worker leaves behind."""

import asyncio
import json
import os
import pickle
import signal
import subprocess
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest
from ray_cluster import ray_cluster, workers_of
from terminal import write_mixture
from waiting import take_turns, wait_for, wait_until

from moa_graph import MoAConfig
from moa_graph.batch.input import read_records
from moa_graph.batch.output import BatchFiles
from moa_graph.batch.rate_limits import RateLimits
from moa_graph.batch.ray import thread_locks
from moa_graph.batch.ray.coordinator import Coordinator, environment_for
from moa_graph.batch.record_runner import RecordOutcome

MOA = Path(sys.executable).parent / "moa"
KEY = "sk-of-the-tests-0123456789"
COUNT, CONCURRENCY, WORKERS = 9, 2, 2
PATIENCE = 600  # seconds: a cluster and its workers start


@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / "prompts.jsonl"
    rows = [{"prompt": f"question {number}"} for number in range(COUNT)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def mixture(tmp_path, server):
    path = write_mixture(tmp_path / "mixture.toml", server, layers=1)
    text = path.read_text()
    path.write_text(text.replace("max_retries = 0", 'max_retries = 0, api_key_env = "TEST_KEY"'))
    return path


@pytest.mark.process
@pytest.mark.ray
@pytest.mark.skipif(not find_spec("ray"), reason="Ray is not installed")
def test_records_of_a_killed_worker_are_answered_elsewhere_and_paid_for_once(
    tmp_path, server, prompts, mixture, postgres
):
    go_on = False
    server.model("w", until=lambda: go_on)
    answers, log = tmp_path / "answers.jsonl", tmp_path / "log"
    with ray_cluster(WORKERS) as cluster, log.open("w") as file:
        words = [prompts, "-o", answers, "-c", mixture, "--db", postgres, "--keep-threads"]
        options = ["--engine", "ray", "--workers", WORKERS, "--concurrency", CONCURRENCY]
        process = subprocess.Popen(
            [MOA, "batch", *words, *map(str, options)],
            env=cluster | {"TEST_KEY": KEY},
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
        )
        # Every worker has asked the aggregator all it may; nothing else is under way.
        full = WORKERS * CONCURRENCY
        wait_for(lambda: len(under_way(server)) == full or process.poll() is not None, PATIENCE)
        os.kill(workers_of(cluster)[0], signal.SIGKILL)
        wait_for(lambda: len(under_way(server)) == full - CONCURRENCY)
        go_on = True
        told, _ = process.communicate(timeout=PATIENCE)
        logs = [path.read_bytes() for path in Path(cluster["RAY_TMPDIR"]).rglob("*.*")]
    errors = log.read_text()
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    rows = [json.loads(line) for line in answers.read_text().splitlines()]
    assert [row["line"] for row in rows] == list(range(1, COUNT + 1))
    assert [row["answer"] for row in rows] == [f"w on question {n}" for n in range(COUNT)]
    asked = Counter(call.model for call in server.calls)
    assert asked == {"a": COUNT, "b": COUNT, "w": COUNT + CONCURRENCY}
    assert {call.headers["authorization"] for call in server.calls} == {f"Bearer {KEY}"}
    assert told.splitlines()[0].startswith(
        f"{COUNT} of {COUNT} answered; in this run {3 * COUNT} calls"
    )
    assert len(told.splitlines()) == 2
    assert len(logs) > 10
    assert not any(KEY.encode() in each for each in logs)


def under_way(server):
    return [call for call in server.calls_of("w") if call.ended is None]


@pytest.mark.parametrize(
    ("words", "env", "told"),
    [
        (["--engine", "ray"], {}, "--db postgresql://..., got none"),
        (["--engine", "ray", "--db", "x.sqlite"], {}, "--db postgresql://..., got x.sqlite"),
        (["--workers", "2"], {}, "--workers 2: only --engine ray has workers"),
        (["--engine", "ray", "--db", "POSTGRES"], {"RAY_ADDRESS": "ray://a:1"}, "RAY_ADDRESS=ray:"),
    ],
)
def test_what_the_engine_cannot_do_is_refused(moa, prompts, postgres, words, env, told):
    words = [postgres if word == "POSTGRES" else word for word in words]
    out = prompts.with_name("answers.jsonl")
    done = moa("batch", prompts, "-o", out, "--preset", "offline", *words, env=env)
    assert done.returncode == 1
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_engine_that_is_not_installed_is_named(moa, prompts, monkeypatch):
    monkeypatch.setattr("moa_graph.cli.actions.batch.find_spec", lambda _: None)
    out = prompts.with_name("answers.jsonl")
    done = moa("batch", prompts, "-o", out, "--preset", "offline", "--engine", "ray")
    assert done.stderr == "moa: --engine ray needs a package: pip install 'moa_graph[ray]'\n"


async def test_thread_is_held_by_one_until_its_connection_is_lost(postgres, monkeypatch):
    order, tries = [], []

    async def sleep(_):
        tries.append("in vain")
        await asyncio.sleep(0)

    monkeypatch.setattr(thread_locks, "asyncio", SimpleNamespace(sleep=sleep))

    async def hold(lock, name, go_on=None):
        async with lock.hold("thread"):
            order.append(name)
            if go_on:
                await go_on.wait()

    async with thread_locks.open_locks(postgres) as mine:
        lost = asyncio.create_task(hold(mine, "lost", asyncio.Event()))
        await wait_until(lambda: order)
        async with thread_locks.open_locks(postgres) as others:
            waiting = [
                asyncio.create_task(hold(each, name))
                for each, name in ((mine, "same process"), (others, "other"))
            ]
            async with mine.hold("another thread"):
                await wait_until(lambda: len(tries) > 6)
            assert order == ["lost"]
            await end_connections_with_locks(postgres)
            await waiting[1]
            assert order == ["lost", "other"]
            for task in (lost, waiting[0]):
                task.cancel()
            await asyncio.gather(lost, waiting[0], return_exceptions=True)


async def end_connections_with_locks(postgres):
    async with await psycopg.AsyncConnection.connect(postgres, autocommit=True) as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_database d ON d.oid ="
            " l.database WHERE datname = current_database() AND locktype = 'advisory' AND granted"
        )


async def test_desk_counts_a_record_once_that_began_again():
    desk = Coordinator(total=3, max_cost=None, read_ahead=1)
    outcome = RecordOutcome({"line": 1}, calls=2, tokens=10, spent=0.5)
    for _ in range(2):  # its worker was lost before it told, and another after
        assert await desk.start_record(1)
    for _ in range(2):
        await desk.finish_record(1, outcome)
    assert await desk.start_record(1)
    await desk.finish_record(1, outcome)
    progress = await desk.exchange_progress(written_count=0, last_line=0)
    assert (progress.done, progress.calls, progress.spent) == (1, 2, 0.5)


async def test_desk_lets_records_be_read_as_they_are_kept():
    desk = Coordinator(total=3, max_cost=None, read_ahead=2)
    assert [await desk.may_read(place) for place in (0, 1)] == [True, True]
    third = asyncio.create_task(desk.may_read(2))
    await take_turns()
    assert not third.done()
    await desk.exchange_progress(written_count=1, last_line=1)
    assert await third


async def test_desk_stops_reading_and_beginning_when_the_money_is_spent():
    desk = Coordinator(total=9, max_cost=1.0, read_ahead=2)
    assert await desk.start_record(1)
    second = asyncio.create_task(desk.start_record(2))
    await take_turns()
    assert not second.done()  # what a record costs is not known yet
    waiting = asyncio.create_task(desk.may_read(2))
    await desk.finish_record(1, RecordOutcome({"line": 1}, calls=1, spent=0.75))
    assert not await second
    progress = await desk.exchange_progress(0, 0)
    assert progress.stopped.startswith("budget of $1.00 exhausted (")
    assert not await waiting


async def test_desk_decides_once_on_a_record_whose_worker_is_lost_while_it_waits():
    desk = Coordinator(total=9, max_cost=1.0, read_ahead=9)
    assert await desk.start_record(1)
    waiting = [asyncio.create_task(desk.start_record(line)) for line in (2, 2, 3)]
    await take_turns()
    assert not any(task.done() for task in waiting)  # what a record costs is not known yet
    waiting.pop(0).cancel()
    await desk.finish_record(1, RecordOutcome({"line": 1}, calls=1, spent=0.4))
    assert await waiting[0]
    await take_turns()
    assert not waiting[1].done()  # 2 may cost what is left
    await desk.finish_record(2, RecordOutcome({"line": 2}, calls=1, spent=0.4))
    assert not await waiting[1]
    assert (await desk.exchange_progress(written_count=0, last_line=0)).spent == 0.8


async def test_desk_tells_its_age_not_the_time(monkeypatch):
    now = iter([1000.0, 1003.5])
    monkeypatch.setattr("moa_graph.batch.ray.coordinator.monotonic", lambda: next(now))
    assert await Coordinator(total=1, max_cost=None, read_ahead=1).elapsed_seconds() == 3.5


@pytest.mark.ray
@pytest.mark.skipif(not find_spec("ray"), reason="Ray is not installed")
@pytest.mark.parametrize(
    ("named", "used"), [(None, "local"), ("", "local"), ("auto", "auto"), ("a:1", "a:1")]
)
def test_cluster_of_somebody_else_on_this_machine_is_not_joined(monkeypatch, named, used):
    from moa_graph.batch.ray import cluster

    asked = []
    monkeypatch.setattr(cluster.ray, "init", lambda **options: asked.append(options["address"]))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if named is not None:
        monkeypatch.setenv("RAY_ADDRESS", named)
    with cluster.cluster_connection():
        pass
    assert asked == [used]


def test_model_that_cannot_be_built_is_named_before_a_cluster_is_asked(
    moa, prompts, postgres, monkeypatch, tmp_path
):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    config = tmp_path / "mixture.toml"
    config.write_text('layers = [["offline:lead"]]\naggregator = "nobody:model"\n')
    out = prompts.with_name("answers.jsonl")
    done = moa("batch", prompts, "-o", out, "-c", config, "--engine", "ray", "--db", postgres)
    assert done.returncode == 1
    assert "nobody:model" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_records_are_read_from_another_folder(tmp_path, monkeypatch, prompts):
    monkeypatch.chdir(tmp_path)
    with BatchFiles(Path("answers.jsonl")) as files:
        sent = pickle.dumps(files)
        monkeypatch.chdir("/")
        read = pickle.loads(sent).skip_answered(read_records(prompts), "batch")
        assert len(list(read)) == COUNT
        monkeypatch.chdir(tmp_path)


def test_workers_get_the_variables_of_the_mixture_and_no_others(monkeypatch):
    config = MoAConfig(
        agents={"a": {"model": "openai:a"}, "o": {"model": "offline:lead"}},
        layers=[["a", {"model": "openai:b", "base_url": "http://x/v1", "api_key_env": "MINE"}]],
        aggregator="o",
    )
    given = {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "u", "MINE": "m", "OTHER_API_KEY": "o"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    told = environment_for(config)
    assert {name: told.get(name) for name in given} == given | {"OTHER_API_KEY": None}


@pytest.mark.parametrize(
    ("model", "names"),
    [
        ("mistralai:m", {"MISTRAL_API_KEY"}),
        ("google_genai:m", {"GOOGLE_API_KEY", "GEMINI_API_KEY"}),
        ("bedrock_converse:m", {"AWS_PROFILE"}),
        ("azure_openai:m", {"AZURE_OPENAI_ENDPOINT", "OPENAI_API_VERSION"}),
        ("huggingface:m", {"HF_TOKEN", "HUGGINGFACEHUB_API_TOKEN"}),
        ("offline:lead", set()),
    ],
)
def test_workers_get_the_variables_of_each_provider_and_of_the_way_to_it(monkeypatch, model, names):
    every = {"MISTRAL_API_KEY", "GOOGLE_API_KEY", "GEMINI_API_KEY", "AWS_PROFILE", "HF_TOKEN"}
    every |= {"AZURE_OPENAI_ENDPOINT", "OPENAI_API_VERSION", "HUGGINGFACEHUB_API_TOKEN"}
    way = {"HTTPS_PROXY", "no_proxy", "SSL_CERT_FILE", "MOA_MAX_CONNECTIONS"}
    for name in every | way | {"MOA_API_KEY"}:
        monkeypatch.setenv(name, "x")
    given = environment_for(MoAConfig(layers=[[model]], aggregator=model))
    assert given.keys() & (every | way | {"MOA_API_KEY"}) == names | way


def test_workers_share_the_limits_of_endpoints():
    limits = RateLimits({None: 90.0, "openai:a": 9.0}, {"openai": 300.0}).share_per_process(3)
    assert limits == RateLimits({None: 30.0, "openai:a": 3.0}, {"openai": 100.0})
