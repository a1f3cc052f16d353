"""What enters from outside is bounded, and what is cut says so."""

import json

import pytest
from fakes import FakeModel
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from moa_graph import Agent, ChatMoA, MoAConfig, create_moa
from moa_graph.batch.input import MAX_LINE_BYTES, count_records, read_records
from moa_graph.config.toml_files import MAX_TOML_BYTES
from moa_graph.prompting.tokens import MAX_ANSWER_CHARS, count_tokens
from moa_graph.prompting.tool_text import MAX_TOLD_ARGUMENT_TOKENS, describe_tools_in_text
from moa_graph.redaction import MAX_ERROR_CHARS, redacted_message

CALL = {"name": "read", "args": {"path": "x"}, "id": "1"}
TOOL = {"type": "function", "function": {"name": "read", "parameters": {"type": "object"}}}


def conversation(result):
    call = AIMessage("", tool_calls=[CALL])
    return [HumanMessage("q"), call, ToolMessage(result, tool_call_id="1", name="read")]


def read_by_both(result, invoke, server, **options):
    """Give what a proposer and the aggregator read of a tool's result."""
    agents = [Agent(model=f"openai:{name}", base_url=server.url) for name in ("a", "w")]
    moa = ChatMoA(layers=[[agents[0]]], aggregator=agents[1], **options).bind_tools([TOOL])
    invoke(moa, conversation(result))
    proposer, aggregator = (server.calls_of(name)[0].messages for name in ("a", "w"))
    return proposer[-1]["content"], aggregator[-1]["content"]


def test_result_of_a_tool_is_cut_alike_for_all_who_read_it(invoke, server):
    for read in read_by_both("x" * 30_000, invoke, server, max_tool_result_tokens=1_800):
        assert "x" * 10_000 + "\n[cut here: 20,000 more characters]" in read
        assert "x" * 10_001 not in read


def test_result_of_ordinary_length_is_passed_on_whole(invoke, server):
    for read in read_by_both("x" * 300_000, invoke, server):
        assert "x" * 300_000 in read
        assert "cut here" not in read


def test_by_default_a_result_of_megabytes_is_cut(invoke, server):
    for read in read_by_both("x" * 5_000_000, invoke, server):
        assert count_tokens(read) < 66_000
        assert "more characters]" in read


def test_bound_of_results_can_be_lifted(invoke, server):
    for read in read_by_both("x" * 1_000_000, invoke, server, max_tool_result_tokens=None):
        assert "x" * 1_000_000 in read


def test_texts_of_one_result_share_its_tokens(invoke, server):
    texts = [{"type": "text", "text": letter * 20_000} for letter in "abc"]
    told, passed_on = read_by_both(
        [*texts, "d" * 20_000], invoke, server, max_tool_result_tokens=720
    )
    for letter in "abcd":
        assert letter * 1_000 + "\n[cut here: 19,000 more characters]" in told
    texts = [block["text"] if isinstance(block, dict) else block for block in passed_on]
    assert [text.partition("\n[cut")[0] for text in texts] == [c * 1_000 for c in "abcd"]


def test_state_keeps_a_result_whole(invoke):
    graph = create_moa([[FakeModel()]], FakeModel(), max_tool_result_tokens=10).compile()
    result = invoke(graph, {"messages": [*conversation("x" * 1_000), HumanMessage("and?")]})
    assert result["messages"][2].content == "x" * 1_000


@pytest.mark.parametrize("bound", [0, -1, 1.5, "many"])
def test_senseless_bound_of_results_is_refused(bound):
    with pytest.raises(ValueError, match=r"`max_tool_result_tokens`=.*expected a whole number"):
        create_moa([[FakeModel()]], FakeModel(), max_tool_result_tokens=bound)


def test_told_arguments_are_cut():
    call = CALL | {"args": {"text": "x" * 1_000_000}}
    told = describe_tools_in_text([HumanMessage("q"), AIMessage("", tool_calls=[call])])[-1].text
    assert count_tokens(told) < MAX_TOLD_ARGUMENT_TOKENS + 30
    assert told.endswith("more characters].")


def test_answer_longer_than_any_is_cut_where_no_other_bound_is(invoke):
    long = "x" * (MAX_ANSWER_CHARS + 5)
    mark = "\n[cut here: 5 more characters]"
    model = FakeModel(answers=[long])
    result = invoke(
        create_moa([[model]], model, max_reference_tokens=None).compile(), {"messages": "q"}
    )
    for content in (result["proposals"]["layer_1_fake"]["content"], result["messages"][-1].content):
        assert len(content) == MAX_ANSWER_CHARS + len(mark)
        assert content.endswith(mark)


def test_blocks_of_an_answer_longer_than_any_are_cut(invoke):
    blocks = [{"type": "text", "text": "x" * (MAX_ANSWER_CHARS + 5)}]
    graph = create_moa([[FakeModel()]], FakeModel(answers=[AIMessage(blocks)])).compile()
    answer = invoke(graph, {"messages": "q"})["messages"][-1]
    assert answer.text.endswith("x\n[cut here: 5 more characters]")


def test_error_of_megabytes_is_one_line():
    said = redacted_message(ValueError("no " * 1_000_000), "secret-key")
    assert len(said) < MAX_ERROR_CHARS + 30
    assert said.endswith("… (3,000,012 characters)")


def test_key_is_redacted_wherever_an_error_is_cut():
    key = "my-secret-key"
    for before in range(MAX_ERROR_CHARS - 40, MAX_ERROR_CHARS + 40):
        said = redacted_message(ValueError(f"{'x' * before}{key}{'y' * 200_000}"), key)
        assert "my-" not in said


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "#" * (MAX_TOML_BYTES + 1),
            f"more than {MAX_TOML_BYTES:,} bytes; expected a configuration",
        ),
        (f"layers = {'[' * 100_000}", "too deep"),
        (f"layers = {'{a=' * 100_000}", "too deep"),
    ],
)
def test_configuration_that_is_too_long_or_deep_is_refused(text, reason, tmp_path):
    path = tmp_path / "mixture.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=reason):
        MoAConfig.load(path)


def test_line_of_a_batch_that_is_too_long_is_a_failure_of_its_own(tmp_path):
    path = tmp_path / "prompts.jsonl"
    fine = json.dumps({"prompt": "q"})
    for length in (MAX_LINE_BYTES + 1, MAX_LINE_BYTES + 2, 3 * MAX_LINE_BYTES):
        path.write_text(f"{fine}\n{'x' * length}\n{fine}\n{'x' * length}")
        records = list(read_records(path))
        reason = f"longer than {MAX_LINE_BYTES:,} bytes, more than any model reads"
        assert [each.line for each in records] == [1, 2, 3, 4]
        assert [each.invalid_reason for each in records] == [None, reason, None, reason]
        assert count_records(path) == (4, 4)


def test_longest_line_of_a_batch_is_read(tmp_path):
    path = tmp_path / "prompts.jsonl"
    prompt = "x" * (MAX_LINE_BYTES - len('{"prompt": ""}\n'))
    path.write_text(json.dumps({"prompt": prompt}) + "\n" + json.dumps({"prompt": "q"}) + "\n")
    records = list(read_records(path))
    assert [each.messages[0]["content"] for each in records] == [prompt, "q"]
