"""The parts of a batch: lines, files, order, money, and how fast endpoints are asked."""

import asyncio
import json
from shutil import copytree

import pytest
from decisions import FakeDecisions
from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import CachePolicy

from moa_graph import Agent, MoAConfig, Router, create_moa
from moa_graph.batch import rate_limits
from moa_graph.batch.input import (
    BatchRecord,
    batch_name,
    parse_record,
    read_records,
    thread_id_for,
)
from moa_graph.batch.output import BatchError, BatchFiles
from moa_graph.batch.rate_limits import RateLimiter, parse_rates
from moa_graph.batch.record_runner import RecordOutcome, RecordRunner
from moa_graph.batch.runner import READ_AHEAD_FACTOR, run_batch
from moa_graph.runs.job_progress import JobProgress

TOO_DEEP = b'{"messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        (b"{", "not JSON: "),
        (b"\xff", "not UTF-8"),
        (TOO_DEEP, "too deep"),
        (b'"q"', "expected an object with `prompt` or `messages`, got str"),
        (b"{}", "either `prompt` or `messages`"),
        (b'{"prompt": "q", "messages": []}', "either `prompt` or `messages`"),
        (b'{"prompt": " "}', "`prompt`: expected a text that is not empty"),
        (b'{"prompt": 1}', "`prompt`: expected a text that is not empty, got int"),
        (b'{"messages": []}', "`messages`: expected a list"),
        (b'{"messages": ["q"]}', "`messages`: expected a list"),
        (b'{"messages": [{"role": "nobody", "content": "q"}]}', "`messages[0]`: "),
        (b'{"messages": [{"role": "user"}]}', "`messages[0]`: Message dict must contain 'role'"),
        (
            b'{"messages": [{"role": "user", "content": 5}]}',
            "`messages[0].content`: expected a string, got int",
        ),
        (
            b'{"messages": [{"role": "user", "content": ""},{"role": "user", "content": ["", 5]}]}',
            "`messages[1].content[1]`: expected a string, got int",
        ),
        (
            b'{"messages": [{"role": "tool", "content": "5"}]}',
            "`messages[0]`: 'tool_call_id' is missing",
        ),
        (b'{"messages": [{"role": "assistant", "content": "a"}]}', "the assistant's"),
        (b'{"prompt": "q", "id": 1.5}', "`id`: expected a text or a whole number, got float"),
        (b'{"prompt": "q", "id": true}', "`id`: "),
        (
            rb'{"prompt": "q", "id": "\ud800x"}',
            "`id`: expected text without lone surrogates, got '\\ud800x'",
        ),
    ],
)
def test_mistake_of_a_line_is_told(line, mistake):
    record = parse_record(7, line)
    assert mistake in record.invalid_reason
    assert (record.line, record.id) == (7, 7)


def test_mistake_behind_an_id_is_told_with_it():
    assert parse_record(7, b'{"id": "x", "prompt": ""}').id == "x"


def test_lines_are_numbered_as_in_the_file(tmp_path):
    (tmp_path / "in").write_text('{"prompt": "a"}\n\n{"prompt": "b", "id": null}\n{"prompt": "c"}')
    records = list(read_records(tmp_path / "in", 2))
    assert [record.line for record in records] == [1, 3]
    assert records[0].messages == [{"role": "user", "content": "a"}]


def test_thread_is_the_same_for_the_same_record_and_mixture_alone(tmp_path):
    config = MoAConfig(layers=[{"a": "openai:a", "b": "openai:b"}], aggregator="openai:w")
    batch = batch_name(tmp_path / "out.jsonl", config)
    others = [config.override(temperature=0.2), config.override(models=["openai:b", "openai:a"])]
    assert len({batch, *(batch_name(tmp_path / "out.jsonl", other) for other in others)}) == 3
    assert batch == batch_name(tmp_path / "out.jsonl", config.model_copy(update={"quorum": 2}))
    assert batch.startswith("out-")
    records = [
        parse_record(1, b'{"prompt": "a"}'),
        parse_record(2, b'{"prompt": "a"}'),
        parse_record(1, b'{"prompt":"b"}'),
    ]
    assert len({thread_id_for(batch, record) for record in records}) == 3
    assert thread_id_for(batch, records[0]) == thread_id_for(
        batch, parse_record(1, b'{"prompt":"a","id":3}')
    )


def test_thread_is_another_where_questions_are_routed_otherwise(tmp_path):
    config = MoAConfig(layers=[{"a": "openai:a"}], aggregator="openai:w")
    tables = [
        {"model": "openai:r", "easy": "openai:e"},
        {"model": "openai:r", "easy": "openai:f"},
        {"model": "openai:r", "easy": {"model": {"model": "openai:e"}}},
        {"model": "openai:r", "easy": "openai:e", "criteria": {"easy": "small talk"}},
        {"model": {"model": "openai:r", "temperature": 0.1}, "easy": "openai:e"},
    ]
    routed = [MoAConfig.model_validate({**config.model_dump(), "router": each}) for each in tables]
    assert len({batch_name(tmp_path / "out.jsonl", each) for each in (config, *routed)}) == 6


def row(line, batch="b"):
    record = BatchRecord(line, line)
    return {"line": line, "id": line, "answer": "x", "thread": thread_id_for(batch, record)}


def lines_of(path):
    return [json.loads(line)["line"] for line in path.read_text().splitlines()]


def test_half_a_row_is_cut_off_however_long(tmp_path):
    path = tmp_path / "a.jsonl"
    with BatchFiles(path) as files:
        files.write(row(1))
    with path.open("a") as file:
        file.write(json.dumps(row(2) | {"answer": "é" * 100_000})[:-2])
    with BatchFiles(path) as files:
        done, left = files.skip_answered([BatchRecord(1, 1), BatchRecord(2, 2)], "b")
    assert (done, left.line) == (None, 2)
    path.write_text('{"line": 1, "id"')
    with BatchFiles(path):
        pass
    assert path.read_text() == ""


def test_late_rows_come_to_stand_in_their_place_also_after_a_kill(tmp_path):
    path = tmp_path / "a.jsonl"
    with BatchFiles(path) as files:
        for line in (1, 3, 5):
            files.write(row(line))
    with BatchFiles(path) as files:
        left = files.skip_answered((BatchRecord(line, line) for line in range(1, 8)), "b")
        for record in filter(None, left):
            files.write(row(record.line))
    assert lines_of(path) == [1, 2, 3, 4, 5, 6, 7]
    late = tmp_path / "a.late.jsonl"
    late.write_text("".join(json.dumps(row(line)) + "\n" for line in (2, 4)) + '{"line": 6')
    with BatchFiles(path):
        assert lines_of(path) == [1, 2, 3, 4, 5, 6, 7]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.jsonl"]


def failure(line, error="old"):
    return {"line": line, "id": line, "error": error}


def causes(path):
    return [(row["line"], row["error"]) for row in map(json.loads, path.read_text().splitlines())]


def test_known_failures_stay_until_their_records_are_asked_again(tmp_path):
    path = tmp_path / "a.jsonl"
    with BatchFiles(path) as files:
        for line in (1, 3, 5, 7):
            files.write(failure(line))
    with BatchFiles(path):
        pass
    assert causes(files.failures) == [(1, "old"), (3, "old"), (5, "old"), (7, "old")]
    with BatchFiles(path) as files:
        files.write(failure(2, "new"))
        files.write(row(3))
        files.write(failure(5, "new"))
    assert causes(files.failures) == [(1, "old"), (2, "new"), (5, "new"), (7, "old")]
    with BatchFiles(path) as files:  # line 1 is empty by now
        files.supersede_failures(5)
    assert causes(files.failures) == [(7, "old")]
    with BatchFiles(path) as files:
        files.supersede_failures()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.jsonl"]


def test_a_kill_loses_no_known_failure(tmp_path):
    path = tmp_path / "a.jsonl"
    with BatchFiles(path) as files:
        for line in (1, 3, 5):
            files.write(failure(line))
    with BatchFiles(path) as killed:
        killed.write(row(1))
        killed.write(failure(3, "new"))
        left = copytree(tmp_path, tmp_path.with_name("left"))  # what a kill leaves
    with BatchFiles(left / path.name) as files:
        pass
    assert causes(files.failures) == [(3, "new"), (5, "old")]
    assert sorted(each.name for each in left.iterdir()) == ["a.failed.jsonl", "a.jsonl"]


def test_what_is_written_now_is_not_read_as_answered_before(tmp_path):
    with BatchFiles(tmp_path / "a.jsonl") as files:
        left = files.skip_answered((BatchRecord(line, line) for line in range(1, 4)), "b")
        for record in filter(None, left):
            files.write(row(record.line))
    assert lines_of(tmp_path / "a.jsonl") == [1, 2, 3]


def test_halves_of_characters_do_not_stop_a_batch(tmp_path):
    with BatchFiles(tmp_path / "a.jsonl") as files:
        files.write(row(1) | {"id": "\ud800"})
    assert json.loads((tmp_path / "a.jsonl").read_text())["id"] == "?"


def test_rows_of_another_batch_are_refused(tmp_path):
    with BatchFiles(tmp_path / "a.jsonl") as files:
        files.write(row(1))
    with BatchFiles(tmp_path / "a.jsonl") as files:
        with pytest.raises(BatchError, match="another mixture"):
            list(files.skip_answered([BatchRecord(1, 1)], "c"))
        with pytest.raises(BatchError, match="another prompt than that of line 1"):
            list(files.skip_answered([BatchRecord(1, 1, [{"role": "user", "content": "q"}])], "b"))
        with pytest.raises(BatchError, match="another prompt than that of line 1"):
            list(files.skip_answered([BatchRecord(2, 2)], "b"))


async def batch_of(count, answer, read=None, kept=None, **options):
    """Run a batch of so many records; give the lines that were kept, and note those read."""
    read, kept = [] if read is None else read, [] if kept is None else kept

    def records():
        for line in range(1, count + 1):
            read.append(line)
            yield BatchRecord(line, line, [{"role": "user", "content": "q"}])

    async def keep(outcome):
        kept.append(outcome.row["line"])

    progress = JobProgress(count)
    await run_batch(records(), answer, keep, progress, **options)
    return progress, kept


async def test_reading_waits_for_a_slow_record_and_order_is_kept():
    go_on, running, read, kept = asyncio.Event(), 0, [], []

    async def answer(record):
        nonlocal running
        running += 1
        assert running <= 3
        await (go_on.wait() if record.line == 1 else asyncio.sleep(0))
        running -= 1
        return RecordOutcome({"line": record.line})

    work = asyncio.ensure_future(batch_of(1000, answer, read, kept, concurrency=3))
    for _ in range(500):
        await asyncio.sleep(0)
    assert kept == []
    assert len(read) == 3 * READ_AHEAD_FACTOR
    go_on.set()
    progress, _ = await work
    assert kept == list(range(1, 1001))
    assert (progress.done, progress.left) == (1000, 0)


async def test_calls_go_on_while_what_is_answered_is_read_over():
    passed, seen = 0, set()

    def records():
        nonlocal passed
        yield BatchRecord(1, 1)
        for passed in range(1000):  # noqa: B007
            yield None
        yield BatchRecord(2, 2)

    async def answer(record):
        for _ in range(100 * (record.line == 1)):
            await asyncio.sleep(0)
            seen.add(passed)
        return RecordOutcome({"line": record.line})

    async def keep(_):
        pass

    await run_batch(records(), answer, keep, JobProgress(2), concurrency=2)
    assert len(seen) > 50


def test_a_full_disk_is_told(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(row(5)) + "\n")
    with BatchFiles(path) as files:
        late = path.with_name("a.late.jsonl")
        late.symlink_to("/dev/full")
        with pytest.raises(BatchError, match="cannot be written: No space left"):
            files.write(row(1))
        late.unlink()


async def test_an_error_that_is_no_failure_of_a_record_ends_the_batch():
    async def answer(record):
        if record.line == 5:
            raise OSError("disk full")
        return RecordOutcome({"line": record.line})

    with pytest.raises(OSError, match="disk full"):
        await batch_of(1000, answer, concurrency=3)


@pytest.mark.parametrize("concurrency", [1, 4])
async def test_budget_is_kept_where_no_record_costs_more_than_those_before(concurrency):
    async def answer(record):
        await asyncio.sleep(0)
        return RecordOutcome({"line": record.line}, calls=1, spent=1.0 if record.line == 1 else 0.5)

    progress, kept = await batch_of(100, answer, concurrency=concurrency, max_cost=10.0)
    assert 9.0 <= progress.spent <= 10.0
    assert progress.stopped.startswith("budget of $10.00 exhausted ($9.50 spent")
    assert kept == list(range(1, len(kept) + 1))


async def test_budget_that_the_last_record_uses_up_stops_nothing():
    async def answer(record):
        return RecordOutcome({"line": record.line}, calls=1, spent=1.0)

    progress, kept = await batch_of(3, answer, max_cost=3.0)
    assert (kept, progress.left, progress.stopped) == ([1, 2, 3], 0, None)


async def test_budget_ends_where_a_cost_is_not_known():
    async def answer(record):
        return RecordOutcome(
            {"line": record.line}, calls=1, unpriced=1, models_without_usage=["openai:mute"]
        )

    progress, kept = await batch_of(100, answer, max_cost=10.0)
    assert kept == [1]
    assert progress.stopped.startswith("openai:mute answered without token counts")
    assert "leave the model out, or set no budget" in progress.stopped


@pytest.mark.parametrize("concurrency", [1, 4])
async def test_failed_call_of_unknown_cost_counts_as_the_most_expensive_one(concurrency):
    async def answer(record):
        if record.line % 2:
            return RecordOutcome({"line": record.line}, calls=1, spent=1.0, highest_call=1.0)
        row = {"line": record.line, "error": "no answer within its timeout of 1 s"}
        return RecordOutcome(row, calls=1, unpriced=1, unpriced_failures=1)

    progress, kept = await batch_of(100, answer, concurrency=concurrency, max_cost=10.0)
    assert (len(kept), progress.spent, progress.failed) == (10, 5.0, 5)
    assert progress.stopped == (
        "budget of $10.00 exhausted (at least $5.00 spent, 5 failed calls of unknown cost counted "
        "as $1.00 each)"
    )


async def test_budget_ends_where_all_calls_fail_at_an_unknown_cost():
    async def answer(record):
        row = {"line": record.line, "error": "no answer within its timeout of 1 s"}
        return RecordOutcome(row, calls=2, unpriced=2, unpriced_failures=2)

    progress, kept = await batch_of(100, answer, concurrency=4, max_cost=10.0)
    assert len(kept) == 5
    assert progress.stopped.startswith("the first 10 calls failed")


async def test_batch_goes_on_after_a_call_that_breaks_off(server):
    server.model("m", faults=[None, "reset"])
    agent = Agent(model="openai:m", base_url=server.url, max_retries=0)
    mixture = MoAConfig(
        layers=[{"a": agent}], aggregator="offline:lead", prices={"openai:m": (1e6, 1e6)}
    )
    answerer = RecordRunner(mixture, InMemorySaver(), "b")
    progress, kept = await batch_of(4, answerer.answer, concurrency=1, max_cost=1000.0)
    assert (kept, progress.failed, progress.stopped) == ([1, 2, 3, 4], 1, None)
    assert (progress.unpriced, progress.unpriced_failures) == (1, 1)


@pytest.mark.parametrize("fault", [None, 400])
async def test_what_a_router_takes_counts_in_the_budget(fault, server, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    server.model("chooser", reply='{"route": "easy"}')
    server.model("easy", always=fault)
    mixture = MoAConfig.model_validate(
        {
            "layers": [["offline:lead"]],
            "aggregator": "offline:lead" if not fault else "openai:easy",
            "router": {"model": "openai:chooser", "easy": "openai:easy"},
            "prices": dict.fromkeys(("openai:chooser", "openai:easy"), (1e6, 1e6)),
        }
    )
    saver = InMemorySaver()
    progress, _ = await batch_of(1, RecordRunner(mixture, saver, "b").answer, max_cost=1000.0)
    assert progress.failed == bool(fault)
    assert progress.models_without_usage == []
    assert progress.spent == progress.tokens > 50
    again, _ = await batch_of(1, RecordRunner(mixture, saver, "b").answer, max_cost=1000.0)
    assert (again.spent, len(server.calls_of("chooser"))) == (0, 1)


@pytest.fixture
def clock(monkeypatch):
    """Time that passes when somebody sleeps, and no other."""
    now = [1000.0]

    async def sleep(seconds):
        now[0] += seconds

    monkeypatch.setattr(rate_limits, "monotonic", lambda: now[0])
    monkeypatch.setattr(rate_limits.asyncio, "sleep", sleep)
    return now


@pytest.mark.parametrize("a_minute", [6, 60, 600])
async def test_no_minute_holds_more_than_it_may(clock, a_minute):
    meter, times = RateLimiter(a_minute), []
    for number in range(3 * a_minute):
        await meter.acquire(1)
        times.append(clock[0])
        clock[0] += 90 if number == a_minute else 0  # a pause saves up nothing
    for begin in times:
        assert sum(begin <= each < begin + 59.999 for each in times) <= a_minute
    assert times[-1] - times[0] < 90 + 3.1 * 60


async def test_tokens_that_turn_out_more_are_waited_for_by_the_next(clock):
    meter = RateLimiter(6000)
    begin = clock[0]
    await meter.acquire(100)
    meter.adjust(5900)
    await meter.acquire(100)
    assert 58 < clock[0] - begin < 62


def test_rates_are_read():
    mixture = MoAConfig(
        layers=[{"a": "openai:a", "b": {"model": "openai:b", "base_url": "http://host/v1"}}],
        aggregator="together:w",
    )
    values = ["500", "openai=5", "http://host/v1=7", "together:w=1.5"]
    assert parse_rates("--rpm", values, mixture) == {
        None: 500,
        "openai": 5,
        "http://host/v1": 7,
        "together:w": 1.5,
    }
    for value in ("0", "-1", "x", "", "openai=", "nan", "inf"):
        with pytest.raises(ValueError, match=f"--rpm {value}: expected a number above 0"):
            parse_rates("--rpm", [value], mixture)
    with pytest.raises(ValueError, match="expected one of http://host/v1, openai, openai:a, "):
        parse_rates("--rpm", ["opnai=5"], mixture)


def test_rates_are_read_of_a_router_and_of_voters():
    router = {"model": "openai:chooser", "easy": "groq:easy"}
    voters = {"v": "mistralai:v"}
    mixture = MoAConfig(
        layers=[["openai:a"] * 3],
        aggregator="openai:a",
        router=router,
        aggregation="vote",
        voters=voters,
    )
    values = [f"{name}=5" for name in ("openai:chooser", "groq", "groq:easy", "mistralai:v")]
    assert len(parse_rates("--rpm", values, mixture)) == 4


async def test_a_router_and_who_it_chooses_wait_for_their_turn(clock, model):
    decider, easy = FakeDecisions(answers=["easy", "full"]), model()
    builder = create_moa([{"a": model()}], model(), router=Router(decider, easy=easy))
    rate_limits.RateLimits({"fake:judge": 6}).limit_agents(builder)
    begin, graph = clock[0], builder.compile()
    await graph.ainvoke({"messages": "q"})
    assert clock[0] - begin < 2
    await graph.ainvoke({"messages": "q"})
    assert clock[0] - begin > 9


async def test_a_model_that_decides_of_further_layers_waits_for_its_turn(clock, model):
    layers = [{"a": model()}] * 4
    decider = FakeDecisions(answers=[0.1])
    builder = create_moa(layers, model(), early_stop=decider)
    rate_limits.RateLimits({"fake:judge": 6}, {"fake:judge": 60_000}).limit_agents(builder)
    begin = clock[0]
    await builder.compile().ainvoke({"messages": "q"})
    assert len(decider.asked) == 3
    assert 18 < clock[0] - begin < 40


async def test_limits_and_a_cache_fit_together(server):
    server.model("a", reply="a")
    agent = {"model": "openai:a", "base_url": server.url}
    mixture = MoAConfig(layers=[{"a": agent}], aggregator=agent)
    builder = mixture.graph(cache_policy=CachePolicy())
    rate_limits.RateLimits({None: 6000}, {None: 60_000}).limit_agents(builder)
    graph = builder.compile(cache=InMemoryCache())
    for _ in range(2):
        await graph.ainvoke({"messages": "q"})
    assert len(server.calls) == 2


def limited(model):
    """Make a graph that may ask six times a minute."""
    builder = create_moa([{"a": model}], model)
    rate_limits.RateLimits({None: 6}).limit_agents(builder)
    return builder.compile()


async def test_limits_hold_where_events_are_listened_to(clock, model):
    begin = clock[0]
    told = limited(model()).astream_events({"messages": "q"}, version="v2")
    *_, last = [event async for event in told]
    assert last["data"]["output"]["messages"][-1].text.strip() == "an answer"
    assert clock[0] - begin > 9


def test_a_limited_node_refuses_to_run_where_it_cannot_wait(model):
    asked = model()
    with pytest.raises(NotImplementedError, match=r"`layer_1_a`: rate limits .* an async run"):
        limited(asked).invoke({"messages": "q"})
    assert not asked.asked
