"""Several choices of one request: what a refusal of them says, and whose tokens are whose."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moa_graph.prompting.refusals import is_unclear_refusal, read_choice_limit
from moa_graph.prompting.usage import share_usage


class RefusalError(Exception):
    """What a client raises for a response with a status."""

    def __init__(self, text, status=400):
        super().__init__(text)
        self.status_code = status


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("Field 'n': Value must be between 1 <= value <= 4, but got 6", 4),
        ("Field 'n': Value must be between 1 <= value <= 1, but got 6", 1),
        ("'n' : number must be at most 1", 1),
        ("Unsupported value: 'n' does not support 6 with this model. Only the default (1)", 1),
        ("Unsupported parameter: 'n' is not supported with this model.", 1),
        ("Invalid n value (currently only n = 1 is supported)", 1),
        ("{'loc': ['body', 'n'], 'msg': 'Input should be less than or equal to 5'}", 5),
        ("{'type': 'extra_forbidden', 'loc': ['body', 'n']}", 1),
        ("Only one completion choice is allowed", 1),
    ],
)
def test_refusal_says_how_many_choices_a_request_may_ask_for(text, limit):
    assert read_choice_limit(RefusalError(text), 6) == limit


@pytest.mark.parametrize(
    "error",
    [
        RefusalError("the model is overloaded: n", 503),
        RefusalError("invalid API key", 401),
        RefusalError("This model's maximum context length is 10 tokens"),
        RefusalError("n must be 1 when using greedy sampling, got 6"),
        RefusalError("the line\\n is too long"),
    ],
)
def test_other_refusals_limit_no_choices(error):
    assert read_choice_limit(error, 6) is None


def test_chat_model_that_takes_no_n_gives_one_choice():
    error = TypeError("create() got an unexpected keyword argument 'n'")
    assert read_choice_limit(error, 6) == 1


@pytest.mark.parametrize(
    ("text", "status", "unclear"),
    [
        ("bad request", 400, True),
        ("bad request", 422, True),
        ("bad gateway", 502, False),
        ("slow down", 429, False),
        ("This model's maximum context length is 10 tokens", 400, False),
        ("System role not supported", 400, False),
    ],
)
def test_refusal_of_unclear_reason_is_told_from_others(text, status, unclear):
    assert is_unclear_refusal(RefusalError(text, status)) is unclear


@given(
    read=st.integers(0, 10**6),
    written=st.integers(0, 10**6),
    more=st.integers(0, 10),
    reasoning=st.integers(0, 10**6),
    weights=st.lists(st.integers(1, 10**6), min_size=1, max_size=20),
)
def test_shares_of_a_usage_add_up_to_it(read, written, more, reasoning, weights):
    usage = {
        "input_tokens": read,
        "output_tokens": written,
        "total_tokens": read + written + more,
        "input_token_details": {"cache_read": read // 2},
        "output_token_details": {"reasoning": min(reasoning, written)},
    }
    shares = share_usage(usage, weights)
    for name in ("input_tokens", "output_tokens", "total_tokens"):
        assert sum(share[name] for share in shares) == usage[name]
        assert all(share[name] >= 0 for share in shares)
    thoughts = [share["output_token_details"]["reasoning"] for share in shares]
    assert sum(thoughts) == min(reasoning, written)
    assert all(t <= s["output_tokens"] for t, s in zip(thoughts, shares, strict=True))
    assert [share["input_tokens"] for share in shares] == [read, *[0] * (len(weights) - 1)]
    if written >= len(weights):
        assert all(share["output_tokens"] for share in shares)
