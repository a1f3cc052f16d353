"""Whether a mixture is worth its cost, in words: from intervals of known ends."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from moa_graph.evals.report.cost_comparison import compare_costs
from moa_graph.evals.resource_use import PartialMean
from moa_graph.evals.scoring import QualityInterval


@dataclass
class Score:
    by_instruction: dict
    headline_by_instruction: dict = field(default_factory=dict)
    protocol: object = field(default_factory=lambda: SimpleNamespace(score_bounds=(0, 100)))


def measurement(name, scores, cost, tokens=100):
    score = Score(dict(enumerate(scores)))
    mean = sum(scores) / len(scores)
    use = SimpleNamespace(
        cost=PartialMean(cost, len(scores)),
        input_tokens=PartialMean(tokens, len(scores)),
        output_tokens=PartialMean(tokens, len(scores)),
    )
    quality = QualityInterval(mean, mean - 1, mean + 1)
    return SimpleNamespace(
        system=name, score=score, runs=[score], resource_use=use, mean_quality=quality
    )


def right(count, of=400):
    return [100.0] * count + [0.0] * (of - count)


def worth(mixture, *others, members=("gpt",)):
    options = {"metric": "accuracy, %", "unit": "instruction", "is_headline": False}
    return compare_costs(mixture, others, members, **options)


def test_a_mixture_that_nothing_cheaper_equals_is_worth_it():
    found = worth(
        measurement("mix", right(320), 0.01),
        measurement("gpt", right(240), 0.002),
        measurement("vote", right(280), 0.008),
    )
    assert found.sentence == (
        "mix is better than gpt, the strongest of its models alone (+20.0 [+16.0, +23.9] in "
        "accuracy, %), at 5 times its cost; no cheaper system is as good as mix (80.0 [79.0, 81.0] "
        "at $10.00 for 1,000 instructions); the best of them is vote: 70.0 [69.0, 71.0] at $8.00 "
        "for 1,000 instructions, a difference of -10.0 [-12.9, -7.0] on 400 instructions."
    )


def test_a_model_that_does_as_well_is_the_cheapest_that_is_not_worse():
    found = worth(measurement("mix", right(322), 0.01), measurement("gpt", right(320), 0.002))
    assert found.cheapest.name == "gpt"
    assert (
        "mix is not shown to be better than gpt, the strongest of its models alone (+0.5 [-0.2, "
        "+1.2] in accuracy, %), at 5 times its cost; the cheapest system that is not worse than "
        "mix by more than 5 is gpt: 80.0 [79.0, 81.0] at $2.00 for 1,000 instructions, a "
        "difference of -0.5"
    ) in found.sentence


def test_few_instructions_tell_nothing_and_that_is_said():
    found = worth(
        measurement("mix", right(8, 10), 0.01),
        measurement("gpt", [0.0, *right(7, 9)], 0.002),
    )
    assert found.cheapest is None
    assert "no cheaper system is shown to be as good as mix" in found.sentence
    assert "not shown to be worse the best is gpt" in found.sentence


def test_where_no_price_is_known_tokens_count():
    found = worth(
        measurement("mix", right(80), None, 500), measurement("gpt", right(80), None, 100)
    )
    assert found.amount_kind == "tokens"
    assert "at 5 times its tokens" in found.sentence
    assert "at 200 tokens an instruction" in found.sentence


@pytest.mark.parametrize(("mixture_tokens", "tokens"), [(None, 100), (100, None)])
def test_without_amounts_nothing_is_weighed(mixture_tokens, tokens):
    assert (
        worth(
            measurement("mix", right(8), None, mixture_tokens),
            measurement("gpt", right(8), None, tokens),
        )
        is None
    )
