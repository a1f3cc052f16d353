"""Old spellings of commands and options."""

import pytest
from typer.testing import CliRunner

from moa_graph.cli.app import app
from moa_graph.cli.deprecated import COMMANDS, FLAGS


def moa(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def thread():
    assert moa("ask", "Where? Under the tree.", "-p", "offline", "-t", "mine").exit_code == 0
    return "mine"


@pytest.mark.parametrize("words", [("--at", "aggregator"), ("--at=aggregator",)])
def test_fork_takes_at_for_from(thread, words):
    done = moa("fork", thread, *words, "--no-progress")
    assert done.exit_code == 0
    assert done.stderr.startswith("moa: --at is deprecated; use --from\n")
    assert done.stdout == moa("fork", thread, "--from", "aggregator", "--no-progress").stdout


@pytest.mark.parametrize(
    "words", [("--thread", "mine"), ("--thread=mine",), ("-t", "mine"), ("-tmine",)]
)
def test_draw_takes_an_option_for_its_argument(thread, words):
    done = moa("draw", *words)
    assert done.stdout == moa("draw", thread).stdout
    assert (
        done.stderr
        == f"moa: {words[0][: 2 if words[0][1] == 't' else 8]} is deprecated; use THREAD\n"
    )


def test_batch_takes_strict_for_validate_first(tmp_path):
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"prompt": "a"}\n{}\n')
    done = moa("batch", prompts, "-o", tmp_path / "out.jsonl", "-p", "offline", "--strict")
    assert done.stderr == "moa: --strict is deprecated; use --validate-first\n"
    assert f"{prompts}, line 2" in str(done.exception)


def test_judge_takes_own_prompt_for_builtin_prompt(tmp_path):
    done = moa("eval", "judge", tmp_path, "--own-prompt", "--prompt", "x")
    assert done.stderr == "moa: --own-prompt is deprecated; use --builtin-prompt\n"
    assert "No such option" not in str(done.exception)


def test_eval_plan_is_eval_estimate():
    done = moa("eval", "plan", "examples/plan.toml", "--json")
    assert done.stderr == "moa: eval plan is deprecated; use eval estimate\n"
    assert done.stdout == moa("eval", "estimate", "examples/plan.toml", "--json").stdout


def test_old_spellings_are_in_no_help_text():
    for command in (*FLAGS, "draw", "eval"):
        text = moa(*command.split(), "--help").stdout
        assert not [old for old in FLAGS.get(command, ()) if f"{old} " in text]
        assert not [old for old in COMMANDS if f"\n  {old.split()[-1]} " in text]
    assert "--thread" not in moa("draw", "--help").stdout


def test_old_spelling_of_one_command_is_no_option_of_another():
    assert moa("chat", "--at", "x").exit_code == 2


def test_words_behind_two_dashes_stay(thread):
    done = moa("fork", "--from", "aggregator", "--", "--at")
    assert done.stderr == ""
    assert "no thread '--at'" in str(done.exception)


def test_option_without_its_argument_is_a_mistake():
    assert moa("draw", "--thread").exit_code == 2
