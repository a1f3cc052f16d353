"""How far the proposals of a layer agree, and where it is told."""

import pytest
from langchain_core.messages import AIMessage

import moa_graph
from moa_graph import agreement, create_moa
from moa_graph.graph.agreement import measure_agreement

PROSE = "The sky is blue because air scatters short waves of light more than long ones, all day."


def proposals(*texts):
    return [{"content": text} for text in texts]


def summary_of(state):
    return state["messages"][-1].response_metadata["moa"]


def panel(model, *answers, layers=1):
    names = "abcdef"
    layer = {name: model(answers=[text]) for name, text in zip(names, answers, strict=False)}
    return create_moa([layer] * layers, model(answers=["final"]))


@pytest.mark.parametrize(
    ("texts", "decision"),
    [
        (["42", "It is 42.", "The answer is 42."], (True, "agreement 1.00, at least 0.9")),
        (["The answer is $42$.", "$$42$$", "$x = 42$."], (True, "agreement 1.00, at least 0.9")),
        ([".5", "0.5", "$.50$"], (True, "agreement 1.00, at least 0.9")),
        ([".5", "5"], (False, "agreement 0.50, below 0.9")),
        (["42", "42", "41"], (False, "agreement 0.66, below 0.9")),
        (["42"] * 9 + ["41"], (True, "agreement 0.90, at least 0.9")),
        ([PROSE, PROSE], (True, "agreement 1.00, at least 0.9")),
        ([PROSE, PROSE[::-1]], (False, "agreement 0.00, below 0.9")),
        (["42"], (False, "a single proposal, which cannot agree with others")),
    ],
)
def test_it_says_whether_proposals_agree_and_why(texts, decision):
    assert agreement(0.9)(proposals(*texts)) == decision


def test_by_default_nine_of_ten_must_agree():
    assert moa_graph.agreement() == agreement(0.9)


@pytest.mark.parametrize("threshold", [0, 1.1, -1, True, "0.9", None, float("nan")])
def test_a_threshold_that_is_none_is_refused(threshold):
    with pytest.raises(ValueError, match=r"`threshold`=.*expected a number above 0 and at most 1"):
        agreement(threshold)


def test_dissent_names_who_holds_what_against_whom():
    measured = measure_agreement({"a": "41", "b": "It is 42.", "c": "42", "d": PROSE})
    assert measured["figure"] == 0.5
    assert measured["method"] == "vote"
    assert measured["dissent"] == [
        {"claim": "It is 42.", "nodes": ["b", "c"], "against": ["a", "d"]},
        {"claim": "41", "nodes": ["a"], "against": ["b", "c", "d"]},
        {"claim": f"{PROSE[:79]}…", "nodes": ["d"], "against": ["a", "b", "c"]},
    ]


def test_where_most_are_prose_their_wording_is_compared():
    measured = measure_agreement({"a": "42", "b": PROSE, "c": PROSE})
    assert measured["method"] == "wording"
    assert measured["dissent"] == []
    assert measured["figure"] < 1


def test_the_answer_tells_how_far_the_last_layer_agreed(invoke, model):
    state = invoke(panel(model, "42", "It is 42.", "41", layers=2).compile(), {"messages": "q"})
    told = summary_of(state)["agreement"]
    assert (told["figure"], told["method"]) == (0.6667, "vote")
    assert told["dissent"][1] == {
        "claim": "41",
        "nodes": ["layer_2_c"],
        "against": ["layer_2_a", "layer_2_b"],
    }


def test_one_proposal_has_no_agreement(invoke, model):
    assert "agreement" not in summary_of(invoke(panel(model, "42").compile(), {"messages": "q"}))


def test_an_answer_of_all_is_not_degraded(invoke, model):
    state = invoke(panel(model, "42", "42").compile(), {"messages": "q"})
    assert summary_of(state)["degraded"] is False


def test_an_answer_without_one_of_the_proposers_is_degraded(invoke, model):
    state = invoke(panel(model, "42", ValueError("down"), "42").compile(), {"messages": "q"})
    assert summary_of(state)["degraded"] is True
    assert summary_of(state)["agreement"]["figure"] == 1


def test_an_answer_of_a_fallback_is_degraded(invoke, model):
    moa = create_moa([[model()]], model(answers=[ValueError("down")]), fallbacks=[model()])
    assert summary_of(invoke(moa.compile(), {"messages": "q"}))["degraded"] is True


def test_it_is_told_which_model_served_a_call(invoke, model):
    def served(text, name):
        return AIMessage(text, response_metadata={"model_name": name} if name else {})

    layer = {"a": model(answers=[served("x", "a-2026")]), "b": model(answers=[served("y", "")])}
    moa = create_moa([layer], model(answers=[served("final", "w-mini")]))
    state = invoke(moa.compile(), {"messages": "q"})
    assert state["proposals"]["layer_1_a"]["served_model"] == "a-2026"
    assert "served_model" not in state["proposals"]["layer_1_b"]
    assert summary_of(state)["served_models"] == {"layer_1_a": "a-2026", "aggregator": "w-mini"}


def test_a_selected_answer_tells_the_same(invoke, model):
    layer = {"a": model(answers=["42"]), "b": model(answers=["41"])}
    moa = create_moa([layer], model(answers=["1"]), aggregation="select").compile()
    summary = summary_of(invoke(moa, {"messages": "q"}))
    assert (summary["selected"], summary["agreement"]["figure"]) == ("layer_1_a", 0.5)
