"""Models that replay stored outputs."""

import json

import pytest

from moa_graph import (
    Agent,
    MoAConfig,
    QuorumError,
    create_moa,
)
from moa_graph.models.agent import build_model
from moa_graph.models.recorded import NotRecordedError

USAGE = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(rows) if path.suffix == ".json" else "\n".join(map(json.dumps, rows))
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def alpaca_eval(tmp_path):
    rows = [{"instruction": f"q{n}", "output": f"a{n}", "generator": "g"} for n in range(3)]
    return write(tmp_path / "model_outputs.json", rows)


@pytest.fixture
def journal(tmp_path):
    """What `moa eval generate` keeps: two turns, of which one proposal failed."""

    def turn(number):
        proposals = {
            "layer_1_qwen": {"content": f"qwen {number}", "error": None, "usage": USAGE},
            "layer_1_llama": {"content": "", "error": "no route", "usage": None},
        }
        answer = {"answer": f"final {number}", "error": None, "aggregator": {"usage": USAGE}}
        return {"instruction": f"q{number}", "proposals": proposals, **answer}

    return write(tmp_path / "proposals.jsonl", [{"id": 1, "turns": [turn(1), turn(2)]}])


def ask(name, *messages):
    return build_model(Agent(model=name)).invoke(list(messages))


def test_outputs_of_alpaca_eval_take_part_in_a_mixture(alpaca_eval, model, invoke):
    writer = model()
    moa = create_moa([{"published": f"recorded:{alpaca_eval}"}], writer).compile()
    result = invoke(moa, {"messages": "q1"})
    assert result["proposals"]["layer_1_published"]["content"] == "a1"
    assert "\n1. a1" in writer.asked[0][0].text


def test_aggregator_is_replayed_too(alpaca_eval, model, invoke):
    moa = create_moa([[model()]], f"recorded:{alpaca_eval}").compile()
    assert invoke(moa, {"messages": "q2"})["messages"][-1].text == "a2"


def test_instruction_is_found_where_references_stand_in_the_users_message(alpaca_eval, model):
    moa = create_moa([[model()]], f"recorded:{alpaca_eval}", references_in="user").compile()
    assert moa.invoke({"messages": "q2"})["messages"][-1].text == "a2"


def test_instruction_that_is_not_there_is_a_failure_that_tells_its_beginning(alpaca_eval, model):
    layer = {"published": f"recorded:{alpaca_eval}", "other": model()}
    result = create_moa([layer], model()).compile().invoke({"messages": "q1 but other " * 20})
    error = result["proposals"]["layer_1_published"]["error"]
    assert error.startswith(f"{alpaca_eval}: no recorded answer to 'q1 but other q1 but")
    assert len(error) < len(str(alpaca_eval)) + 100
    moa = create_moa([[f"recorded:{alpaca_eval}"]], model()).compile()
    with pytest.raises(QuorumError, match="no recorded answer to 'Q1'"):
        moa.invoke({"messages": "Q1"})


def test_answers_of_mt_bench_are_found_by_turn(tmp_path):
    questions = [
        {"question_id": 81, "turns": ["first", "again"]},
        {"question_id": 82, "turns": ["second", "again"]},
    ]
    write(tmp_path / "question.jsonl", questions)
    answers = [
        {"question_id": n, "choices": [{"index": 0, "turns": [f"{n} a", f"{n} b"]}]}
        for n in (81, 82)
    ]
    name = f"recorded:{write(tmp_path / 'model_answer' / 'm.jsonl', answers)}"
    assert ask(name, ("user", "second")).text == "82 a"
    turns = [("user", "second"), ("ai", "whatever"), ("user", "again")]
    assert ask(name, *turns).text == "82 b"
    with pytest.raises(NotRecordedError, match="'again'"):
        ask(name, ("user", "again"))


def test_outputs_of_flask_are_found_by_their_instruction(tmp_path):
    write(tmp_path / "flask_evaluation.jsonl", [{"idx": 7, "instruction": "why?"}])
    name = f"recorded:{write(tmp_path / 'm.jsonl', [{'question_id': 7, 'text': 'so'}])}"
    assert ask(name, ("user", "why?")).text == "so"


def test_numbers_without_their_questions_are_refused(tmp_path):
    path = write(tmp_path / "m.jsonl", [{"question_id": 7, "text": "so"}])
    with pytest.raises(ValueError, match=r"put the benchmark's question\.jsonl or"):
        ask(f"recorded:{path}", ("user", "why?"))


def test_node_of_a_journal_is_selected(journal):
    turns = [("user", "q1"), ("ai", "x"), ("user", "q2")]
    answer = ask(f"recorded:{journal}#layer_1_qwen", *turns)
    assert (answer.text, answer.usage_metadata) == ("qwen 2", USAGE)
    assert ask(f"recorded:{journal}", *turns).text == "final 2"


def test_recorded_failure_is_a_failure(journal):
    with pytest.raises(NotRecordedError, match="recorded as a failure: no route"):
        ask(f"recorded:{journal}#layer_1_llama", ("user", "q1"))


def test_line_that_was_never_finished_is_left_out(journal):
    journal.write_text(journal.read_text() + '\n{"id": 2, "tu')
    assert ask(f"recorded:{journal}", ("user", "q1")).text == "final 1"


def test_file_that_changed_is_read_anew(alpaca_eval):
    model = build_model(Agent(model=f"recorded:{alpaca_eval}"))
    assert model.invoke("q1").text == "a1"
    write(alpaca_eval, [{"instruction": "q1", "output": "another"}])
    assert model.invoke("q1").text == "another"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.json", r"nowhere\.json: No such file"),
        ("model_outputs.json#layer_1_x", r"'#layer_1_x' names a proposal"),
        ("proposals.jsonl#layer_9_x", "no proposal 'layer_9_x'; expected one of: layer_1_llama, "),
        ("note.txt", "recorded outputs: .*note.txt: "),
        ("rows.jsonl", "got the keys a, b"),
    ],
)
def test_mistakes_show_when_the_graph_is_made(
    name, message, tmp_path, alpaca_eval, journal, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "note.txt").write_text("hello\nthere\n")
    write(tmp_path / "rows.jsonl", [{"a": 1, "b": 2}])
    with pytest.raises(ValueError, match=message):
        create_moa([[f"recorded:{name}"]], "offline:consensus")


def test_path_is_relative_to_the_working_directory(alpaca_eval, monkeypatch):
    monkeypatch.chdir(alpaca_eval.parent)
    assert ask("recorded:model_outputs.json", ("user", "q1")).text == "a1"


def test_path_in_a_configuration_is_relative_to_its_file(alpaca_eval, journal, model):
    folder = alpaca_eval.parent / "mixtures"
    folder.mkdir()
    (folder / "mixture.toml").write_text(
        'layers = [["published", "recorded:../proposals.jsonl#layer_1_qwen"]]\n'
        'aggregator = "offline:consensus"\ntemperature = 0.7\nmax_tokens = 9\n'
        '[agents]\npublished = "recorded:../model_outputs.json"\n'
    )
    config = MoAConfig.load(folder / "mixture.toml")
    result = config.graph().compile().invoke({"messages": "q1"})
    contents = {node: p["content"] for node, p in result["proposals"].items()}
    assert contents["layer_1_published"] == "a1"
    assert "qwen 1" in contents.values()
    assert MoAConfig.model_validate_json(config.model_dump_json()).layers == config.layers


def test_options_of_a_language_model_have_no_effect_and_are_refused():
    with pytest.raises(ValueError, match=r"`temperature`=0\.5 has no effect on 'recorded:x'"):
        Agent(model="recorded:x", temperature=0.5)
