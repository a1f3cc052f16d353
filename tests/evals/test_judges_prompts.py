"""Where the judges' prompts come from, and what is said of them."""

import hashlib
import importlib.util
import json
from dataclasses import replace

import pytest
from judged import ALPACA_EVAL, MT_BENCH, ROWS, answered

from moa_graph import Agent
from moa_graph.evals.benchmark_data import BenchmarkItem
from moa_graph.evals.benchmarks.alpaca_eval.benchmark import AlpacaEval
from moa_graph.evals.benchmarks.alpaca_eval.judge import AlpacaEvalMethod
from moa_graph.evals.benchmarks.flask.benchmark import Flask
from moa_graph.evals.benchmarks.flask.judge import FlaskMethod
from moa_graph.evals.benchmarks.mt_bench.benchmark import MTBench
from moa_graph.evals.benchmarks.mt_bench.judge import MTBenchMethod
from moa_graph.evals.judging import prompts
from moa_graph.evals.judging.judge import Judge, read_judge
from moa_graph.evals.judging.setup import JudgeFilePaths, prepare_judging
from moa_graph.evals.pinned_files import hash_prompts

OPENAI = Judge(Agent(model="openai:gpt-4-1106-preview"))
TEMPLATE = "<|im_start|>user\n{instruction} {output_1} {output_2}\n<|im_end|>"


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch, tmp_path):
    """Let no prompt be found or downloaded, unless a test brings it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for benchmark in (AlpacaEval, MTBench, Flask):
        files = {}
        for part, origin in benchmark.judge_files.items():
            url = f"http://127.0.0.1:1/{origin.pinned_file.file_name}"
            pin = replace(origin.pinned_file, url=url)
            files[part] = replace(origin, pinned_file=pin, package=None)
        monkeypatch.setattr(benchmark, "judge_files", files)


@pytest.fixture
def package(monkeypatch, tmp_path):
    """Install a package that has AlpacaEval's prompt."""

    def install(text):
        folder = tmp_path / "site" / "prompts_of_a_test" / "inside"
        folder.mkdir(parents=True)
        (folder.parent / "__init__.py").write_text("raise AssertionError('was imported')")
        (folder / "prompt.txt").write_text(text)
        monkeypatch.syspath_prepend(tmp_path / "site")
        origin = AlpacaEval.judge_files["prompt"]
        pin = replace(origin.pinned_file, sha256=hashlib.sha256(TEMPLATE.encode()).hexdigest())
        origin = replace(
            origin,
            pinned_file=pin,
            package="prompts_of_a_test",
            package_path="inside/prompt.txt",
        )
        monkeypatch.setitem(AlpacaEval.judge_files, "prompt", origin)
        return folder / "prompt.txt"

    return install


def test_installed_package_has_the_published_prompt_and_is_not_imported(package):
    path = package(TEMPLATE)
    source = prompts.load_judge_file(AlpacaEval(), "prompt")
    assert (source.kind, source.text, source.location) == ("published", TEMPLATE, str(path))


def test_installed_prompt_that_was_changed_is_refused(package):
    path = package(f"{TEMPLATE} ")
    with pytest.raises(ValueError, match=r"not the published file.*--prompt"):
        prompts.load_judge_file(AlpacaEval(), "prompt")
    assert prompts.load_judge_file(AlpacaEval(), "prompt", path).kind == "given"


@pytest.mark.parametrize(
    ("measured", "part", "option"),
    [
        (AlpacaEval(), "prompt", "--prompt"),
        (MTBench(), "prompt", "--prompt"),
        (MTBench(), "reference_answers", "--reference-answers"),
        (Flask(), "skills", "--skills"),
    ],
)
def test_without_a_network_the_error_says_what_to_fetch_and_where_to_put_it(
    measured, part, option, tmp_path
):
    pin = measured.judge_files[part].pinned_file
    with pytest.raises(ValueError, match="cannot be downloaded") as failed:
        prompts.load_judge_file(measured, part)
    for told in (pin.url, option, str(tmp_path / "cache"), pin.file_name):
        assert told in str(failed.value)


def test_what_was_put_into_the_cache_is_found(monkeypatch):
    key = (AlpacaEval(), "prompt")
    origin = AlpacaEval.judge_files["prompt"]
    pin = replace(origin.pinned_file, sha256=hashlib.sha256(TEMPLATE.encode()).hexdigest())
    monkeypatch.setitem(AlpacaEval.judge_files, "prompt", replace(origin, pinned_file=pin))
    with pytest.raises(ValueError, match="put it at") as failed:
        prompts.load_judge_file(*key)
    place = prompts.Path(str(failed.value).rpartition("put it at ")[2])
    place.parent.mkdir(parents=True)
    place.write_text(TEMPLATE)
    source = prompts.load_judge_file(*key)
    assert (source.kind, source.location) == ("published", pin.url)


@pytest.mark.skipif(not importlib.util.find_spec("alpaca_eval"), reason="no alpaca_eval package")
def test_prompt_of_the_real_package_is_the_published_one(monkeypatch):
    monkeypatch.undo()
    source = prompts.load_judge_file(AlpacaEval(), "prompt")
    assert source.kind == "published"
    (case,) = AlpacaEvalMethod(source.text).list_cases(
        BenchmarkItem(0, ("q?",), row={"output": "one"}), ["two"]
    )
    system, user = AlpacaEvalMethod(source.text).build_messages(case)
    assert (system.type, user.type) == ("system", "human")
    assert all(part in user.content for part in ('"""q?"""', '"""one"""', '"""two"""'))
    assert not user.content.endswith("\n")


@pytest.mark.parametrize("measured", ROWS)
def test_own_prompts_need_no_file_and_have_all_parts(measured, tmp_path):
    folder = answered(tmp_path, measured, lambda asked: f"answer to {asked}")
    task = prepare_judging(folder, OPENAI, files=JudgeFilePaths(own_prompt=True))
    assert {source.kind for source in task.sources.values()} == {"own"}
    for item in task.benchmark.items:
        for case in task.method.list_cases(item, task.answers.by_item[item.id]):
            text = "".join(message.text for message in task.method.build_messages(case))
            assert "answer to" in text
            assert "{" not in text, "every name in braces is filled"


def test_a_given_prompt_is_taken_as_it_is(tmp_path):
    folder = answered(tmp_path, "alpaca_eval", lambda _: "a", rows=ALPACA_EVAL[:1])
    (tmp_path / "mine.txt").write_text(TEMPLATE)
    task = prepare_judging(folder, OPENAI, files=JudgeFilePaths(prompt=tmp_path / "mine.txt"))
    assert task.sources["prompt"].kind == "given"


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (
            lambda: AlpacaEvalMethod("no ChatML {instruction}"),
            "instruction, output_1, output_2 not found",
        ),
        (
            lambda: AlpacaEvalMethod("<|im_start|>user\n{output_1}<|im_end|>"),
            "instruction, output_2",
        ),
        (lambda: MTBenchMethod('{"name": "single-v1"}', None), "single-v1-multi-turn"),
        (lambda: MTBenchMethod("not JSON", None), "not JSON lines"),
        (lambda: FlaskMethod('{"prompt_id": 1}', "[]"), "prompt 2"),
        (lambda: FlaskMethod("[]", "not JSON"), "expected JSON lines"),
    ],
)
def test_other_files_are_refused_as_prompts(make, told):
    with pytest.raises(ValueError, match=told):
        make()


def test_published_references_must_have_the_question(tmp_path):
    folder = answered(tmp_path, "mt_bench", lambda _: "a", rows=MT_BENCH)
    references = tmp_path / "gpt-4.jsonl"
    references.write_text('{"question_id": 7, "choices": [{"turns": ["x", "y"]}]}\n')
    task = prepare_judging(
        folder, OPENAI, files=JudgeFilePaths(own_prompt=True, reference_answers=references)
    )
    with pytest.raises(ValueError, match="question 101: its reference answer is not among"):
        task.method.list_cases(task.benchmark.items[1], ["a", "b"])


@pytest.mark.parametrize(
    ("options", "official"),
    [
        ({"model": "openai:gpt-4-1106-preview"}, True),
        ({"model": "openai:gpt-4-1106-preview", "max_retries": 9, "timeout": 60.0}, True),
        ({"model": "openai:gpt-4-1106-preview", "temperature": 0.0}, False),
        ({"model": "openai:gpt-4-1106-preview", "base_url": "http://localhost/v1"}, False),
        ({"model": "openai:gpt-4o"}, False),
    ],
)
def test_only_the_benchmarks_own_judge_is_official(options, official):
    assert Judge(Agent(**options)).is_official(AlpacaEvalMethod(TEMPLATE)) is official


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('model = "openai:m"\nsystem = "be kind"', "no effect"),
        ('model = "openai:m"\ntemprature = 1', "temprature"),
        ('model = "openai:m"\n[prices]\n"openai:m" = 3', "prices|openai:m"),
        ("model =", "not valid TOML"),
        ("temperature = 0.5", "model"),
    ],
)
def test_mistakes_in_the_judges_file_are_named(tmp_path, text, told):
    (tmp_path / "judge.toml").write_text(text)
    with pytest.raises(ValueError, match=told):
        read_judge(str(tmp_path / "judge.toml"))


@pytest.mark.parametrize("named", ["gpt-4", "offline:lead", "recorded:x.json", "nowhere.toml"])
def test_what_is_no_judge_is_refused(named):
    with pytest.raises(ValueError, match=named):
        read_judge(named)


def test_later_file_with_the_same_prompts_is_the_published_one(tmp_path):
    benchmark = MTBench()
    own = benchmark.judge_files["prompt"].own.read_text(encoding="utf-8")
    rows = [json.loads(line) for line in own.splitlines()]
    origin = replace(benchmark.judge_files["prompt"], prompt_sha256=hash_prompts(own))

    class Pinned(MTBench):
        judge_files = {"prompt": origin}  # noqa: RUF012  # as the protocol has it

    path = tmp_path / "prompts.jsonl"

    def kind(rows):
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return prompts.load_judge_file(Pinned(), "prompt", path).kind

    other = {"name": "pair-v2", "system_prompt": "s", "prompt_template": "t"}
    assert kind([other, *rows[::-1]]) == "published"
    assert kind([{**row, "description": "of another time"} for row in rows]) == "published"
    assert kind(rows[1:]) == "given"
    assert kind([rows[0] | {"prompt_template": "another {answer}"}, *rows[1:]]) == "given"
    path.write_text("no JSON")
    assert prompts.load_judge_file(Pinned(), "prompt", path).kind == "given"


def test_mt_bench_pins_each_prompt_that_its_judge_reads():
    origin = MTBench().judge_files["prompt"]
    own = origin.own.read_text(encoding="utf-8")
    assert origin.prompt_sha256.keys() == hash_prompts(own).keys()
