"""How proposers fail together: as computed in closed form, for simulated ones of known truth."""

import pytest
from simulated import all_wrong, draw_answers, error_correlation

from moa_graph.evals.diversity import ProposalScore, measure_diversity


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.7])
def test_diversity_is_what_the_integrals_say(rho):
    ps, count = (0.8, 0.6, 0.3), 20_000
    answers = draw_answers(ps, rho, count)
    scores = {
        item: {str(n): ProposalScore(float(a == 0), str(a)) for n, a in enumerate(column)}
        for item, column in enumerate(answers.T.tolist())
    }
    found = measure_diversity(scores)
    assert [each.accuracy for each in found.proposers] == pytest.approx([80, 60, 30], abs=1)
    assert found.all_wrong == pytest.approx(100 * all_wrong(ps, rho), abs=1)
    assert found.all_wrong_expected == pytest.approx(100 * 0.2 * 0.4 * 0.7, abs=0.4)
    for pair in found.pairs:
        expected = error_correlation(*(ps[int(name)] for name in pair.names), rho)
        assert pair.correlation == pytest.approx(expected, abs=0.03)
        assert pair.same_wrong_answer == pytest.approx(100 / 9, abs=2)  # nine wrong digits


def test_only_complete_instructions_count():
    right, wrong = ProposalScore(1.0, "1"), ProposalScore(0.0, "2")
    found = measure_diversity(
        {1: {"a": right, "b": wrong}, 2: {"a": wrong}, 3: {"a": right, "b": wrong}}
    )
    assert found.instructions == 2
    assert [each.accuracy for each in found.proposers] == [100, 0]
    assert found.pairs[0].correlation is None  # neither varies


@pytest.mark.parametrize("scores", [{}, {1: {"a": ProposalScore(1.0)}}])
def test_one_proposer_has_nobody_to_fail_with(scores):
    assert measure_diversity(scores) is None
