"""What one run may cost: layers are asked while what is left pays for the next one."""

import pytest
from decisions import FakeDecisions
from fakes import FakeModel
from langchain_core.messages import AIMessage

from moa_graph import ChatMoA, MoAConfig, Router, create_moa

PRICES = {"p:cheap": (1.0, 1.0), "w": (1.0, 1.0)}
"""A dollar for a million tokens; a call of a proposer has 1,000 of them or more."""


def usage_of(read, written):
    return {"input_tokens": read, "output_tokens": written, "total_tokens": read + written}


def answer(read=800, written=200):
    return AIMessage("42", usage_metadata=usage_of(read, written))


class Mixture:
    """Three layers of two proposers, each call of which costs $0.001."""

    def __init__(self, *, answers=None, build=create_moa, **options):
        self.proposers = [
            FakeModel(name="p:cheap", answers=answers or [answer()]) for _ in "abcdef"
        ]
        self.writer = FakeModel(name="w", answers=[answer()])
        rows = [self.proposers[start : start + 2] for start in (0, 2, 4)]
        layers = [dict(zip("ab", row, strict=True)) for row in rows]
        self.built = build(layers, self.writer, **{"prices": PRICES} | options)

    @property
    def asked(self):
        """How often the layers were asked, and the aggregator."""
        counts = [len(each.asked) for each in self.proposers]
        return [*(sum(counts[start : start + 2]) for start in (0, 2, 4)), len(self.writer.asked)]


def summary_of(state):
    return state["messages"][-1].response_metadata["moa"]


# Layer 1 costs $0.002; layer 2 is expected to read 800 + 400 tokens and to write 200, twice, for
# $0.0028; layer 3 as much as layer 2 took, $0.002.
@pytest.mark.parametrize(
    ("max_cost", "asked"),
    [
        (0, [2, 0, 0, 1]),
        (0.0047, [2, 0, 0, 1]),
        (0.0048, [2, 2, 0, 1]),
        (0.006, [2, 2, 2, 1]),
        (1, [2, 2, 2, 1]),
    ],
)
def test_a_layer_is_asked_while_what_is_left_pays_for_it(max_cost, asked, invoke):
    mixture = Mixture(max_cost=max_cost)
    invoke(mixture.built.compile(), {"messages": "q"})
    assert mixture.asked == asked


def test_it_is_told_why_no_further_layer_was_asked(invoke):
    state = invoke(Mixture(max_cost=0.003).built.compile(), {"messages": "q"})
    assert summary_of(state)["depth"] == {
        "layers": 1,
        "of": 3,
        "why": "max_cost $0.0030: $0.0020 spent, and the next layer may cost $0.0028",
        "skipped": 4,
    }


def test_a_run_within_its_budget_says_so(invoke):
    state = invoke(Mixture(max_cost=1).built.compile(), {"messages": "q"})
    assert summary_of(state)["depth"]["why"] == "within max_cost"


def test_an_answer_of_unknown_cost_ends_the_layers(invoke):
    mixture = Mixture(max_cost=1, answers=[AIMessage("42")])
    state = invoke(mixture.built.compile(), {"messages": "q"})
    assert mixture.asked == [2, 0, 0, 1]
    assert "layer_1_a answered without token counts" in summary_of(state)["depth"]["why"]


def test_a_model_without_a_price_is_refused():
    with pytest.raises(ValueError, match=r"`max_cost`=1: the price of 'p:cheap' is not known"):
        Mixture(max_cost=1, prices={"w": (1, 1)})
    with pytest.raises(ValueError, match="the price of 'fake:judge' is not known"):
        Mixture(max_cost=1, early_stop=FakeDecisions())
    with pytest.raises(ValueError, match="the price of 'easy' is not known"):
        Mixture(max_cost=1, router=Router(bool, easy=FakeModel(name="easy")))


@pytest.mark.parametrize("price", [1, (1,), (1, 2, 3), ("1", "2"), (-1, 2), (1, float("nan"))])
def test_what_is_no_price_is_refused(price):
    with pytest.raises(ValueError, match=r"`prices`\['w'\]=.*: expected US dollars for a million"):
        Mixture(prices={"w": price})
    with pytest.raises(ValueError, match=r"`prices`=\[1\]: expected models mapped to prices"):
        Mixture(prices=[1], max_cost=1)


@pytest.mark.parametrize("max_cost", [-1, True, "1", float("inf"), float("nan")])
def test_what_is_no_amount_of_money_is_refused(max_cost):
    with pytest.raises(ValueError, match=r"`max_cost`=.*: expected US dollars, 0 or more"):
        Mixture(max_cost=max_cost)


def test_free_models_need_no_price(invoke):
    moa = create_moa([["offline:lead"]] * 3, "offline:consensus", max_cost=0).compile()
    state = invoke(moa, {"messages": "Where is it? It is here."})
    assert summary_of(state)["depth"]["layers"] == 3


def test_what_a_decision_model_takes_counts(invoke):
    prices = PRICES | {"fake:judge": (1000.0, 1000.0)}  # a decision costs $0.011
    judge = FakeDecisions(answers=[0.1])
    mixture = Mixture(max_cost=0.01, prices=prices, early_stop=judge)
    invoke(mixture.built.compile(), {"messages": "q"})
    assert mixture.asked == [2, 2, 0, 1]


def test_shadow_does_not_lift_the_budget(invoke):
    mixture = Mixture(max_cost=0, shadow=True, early_stop=0.9)
    state = invoke(mixture.built.compile(), {"messages": "q"})
    assert mixture.asked == [2, 0, 0, 1]
    assert "shadow" not in summary_of(state)["depth"]


def test_it_goes_with_stopping_early(invoke):
    mixture = Mixture(max_cost=1, early_stop=0.9)
    state = invoke(mixture.built.compile(), {"messages": "q"})
    assert summary_of(state)["depth"]["why"] == "agreement 1.00, at least 0.9"


def test_a_failed_call_that_may_be_billed_costs_as_much_as_the_most_expensive_one(invoke):
    mixture = Mixture(max_cost=0.0047, answers=[answer()])
    mixture.proposers[0].answers[:] = [TimeoutError("no answer")]
    state = invoke(mixture.built.compile(), {"messages": "q"})
    spent = "$0.0040 spent, and the next layer may cost $0.0020"
    assert spent in summary_of(state)["depth"]["why"]


def test_a_chat_model_keeps_its_budget(invoke):
    mixture = Mixture(max_cost=0, build=ChatMoA)
    assert summary_of({"messages": [invoke(mixture.built, "q")]})["depth"]["layers"] == 1
    assert mixture.asked == [2, 0, 0, 1]


def test_a_file_sets_it(tmp_path):
    path = tmp_path / "mixture.toml"
    text = 'layers = [["openai:a"], ["openai:a"]]\naggregator = "openai:a"\nmax_cost = 0.5\n'
    path.write_text(f'{text}prices = {{ "openai:a" = [1, 1] }}\n')
    spec = MoAConfig.load(path).graph().spec
    assert spec.depth_policy.budget.max_cost == 0.5
    path.write_text(text)
    with pytest.raises(ValueError, match="the price of 'openai:a' is not known"):
        MoAConfig.load(path).graph()
