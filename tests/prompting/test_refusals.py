"""What refusals say of the length of a prompt, and of images."""

import pytest
from langchain_core.exceptions import ContextOverflowError

from moa_graph import QuorumError, create_moa
from moa_graph.prompting.refusals import describe_remedy, read_context_overflow

# What is said by llama.cpp, OpenAI, vLLM, Anthropic, Google, Mistral, TGI, Bedrock, Groq, xAI,
# Cohere, SGLang and LM Studio; tokens of the prompt, of the context, and asked for as room.
REFUSALS = [
    (
        (
            "request (1523 tokens) exceeds the available context size (1024 tokens), try "
            "increasing it"
        ),
        (1523, 1024, None),
    ),
    (
        (
            "This model's maximum context length is 8192 tokens. However, your messages "
            "resulted in 9000 tokens. Please reduce the length of the messages."
        ),
        (9000, 8192, None),
    ),
    (
        (
            "This model's maximum context length is 4097 tokens. However, you requested 5000 "
            "tokens (4000 in the messages, 1000 in the completion). Please reduce"
        ),
        (4000, 4097, 1000),
    ),
    (
        (
            "This model's maximum context length is 4096 tokens. However, you requested 512 "
            "output tokens and your prompt contains at least 3585 input tokens, for a total of "
            "at least 4097 tokens."
        ),
        (3585, 4096, 512),
    ),
    (
        (
            "'max_tokens' or 'max_completion_tokens' is too large: 5000. This model's maximum "
            "context length is 4096 tokens and your request has 120 input tokens (5000 > 4096 -"
            " 120)."
        ),
        (120, 4096, None),
    ),
    (
        "The decoder prompt (length 5000) is longer than the maximum model length of 4096.",
        (5000, 4096, None),
    ),
    (
        "prompt is too long: 210000 tokens > 200000 maximum",
        (210000, 200000, None),
    ),
    (
        (
            "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, "
            "decrease input length or `max_tokens` and try again"
        ),
        (190000, 200000, 20000),
    ),
    (
        ("The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."),
        (1200000, 1048576, None),
    ),
    (
        "The input token count exceeds the maximum number of tokens allowed (1048576).",
        (None, 1048576, None),
    ),
    (
        (
            "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 "
            "maximum context length"
        ),
        (40000, 32768, None),
    ),
    (
        (
            "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given:"
            " 4500 `inputs` tokens and 512 `max_new_tokens`"
        ),
        (4500, 4096, 512),
    ),
    (
        "Input is too long for requested model.",
        (None, None, None),
    ),
    (
        "Please reduce the length of the messages or completion.",
        (None, None, None),
    ),
    (
        ("This model's maximum prompt length is 131072 but the request contains 150000 tokens."),
        (150000, 131072, None),
    ),
    (
        (
            "too many tokens: total number of tokens in the prompt cannot exceed 4081 - "
            "received 4292. Try using a shorter prompt"
        ),
        (4292, 4081, None),
    ),
    (
        "The input (5000 tokens) is longer than the model's context length (4096 tokens).",
        (5000, 4096, None),
    ),
    (
        (
            "Requested token count exceeds the model's maximum context length of 4096 tokens. "
            "You requested a total of 5000 tokens: 4500 tokens from the input messages and 500 "
            "tokens for the completion."
        ),
        (4500, 4096, 500),
    ),
    (
        (
            "Trying to keep the first 5000 tokens when context the overflows. However, the "
            "model is loaded with context length of only 4096 tokens, which is not enough."
        ),
        (5000, 4096, None),
    ),
    (
        (
            "Your input exceeds the context window of this model. Please adjust your input and "
            "try again."
        ),
        (None, None, None),
    ),
    (
        (
            "Input tokens exceed the configured limit of 272000 tokens. Your messages resulted "
            "in 300000 tokens."
        ),
        (300000, 272000, None),
    ),
]


class BadRequestError(Exception):
    """As the openai client raises it."""

    status_code = 400

    def __init__(self, text, body=None):
        super().__init__(text)
        self.body = body


@pytest.mark.parametrize(("text", "sizes"), REFUSALS)
def test_sizes_are_read_from_a_refusal(text, sizes):
    assert read_context_overflow(BadRequestError(f"Error code: 400 - {text}")) == sizes


def test_fields_of_llama_cpp_are_read():
    fields = {"type": "exceed_context_size_error", "n_prompt_tokens": 1523, "n_ctx": 1024}
    for body in (fields, {"error": fields}):
        error = BadRequestError("Error code: 400 - exceed_context_size_error", body)
        assert read_context_overflow(error) == (1523, 1024, None)


def test_type_of_langchain_is_known_whatever_it_says():
    assert read_context_overflow(ContextOverflowError("no")) == (None, None, None)


def test_other_refusals_are_none_of_length():
    for text in ("rate limit exceeded: 5000 tokens > 4096 a minute", "invalid temperature", ""):
        assert read_context_overflow(BadRequestError(text)) is None
    error = BadRequestError("Request too large: reduce the length of the messages")
    error.status_code = 429
    assert read_context_overflow(error) is None


@pytest.mark.parametrize(
    "text",
    [
        "Error code: 500 - image input is not supported - hint: you may need to provide mmproj",
        "At most 0 image(s) may be provided in one prompt.",
        "No endpoints found that support image input",
        "Invalid content type. image_url is only supported by certain models.",
        "m is not a multimodal model",
    ],
)
def test_refusal_of_an_image_says_how_to_go_on(text):
    assert "ask a model that does" in describe_remedy(ValueError(text))


def test_other_refusals_have_no_remedy():
    assert describe_remedy(ValueError("the image of the sky is blue")) is None


def test_remedy_stands_with_the_cause(invoke, model):
    refused = ValueError("image input is not supported - hint: provide the mmproj")
    graph = create_moa([[model(answers=[refused])]], model()).compile()
    with pytest.raises(QuorumError, match=r"provide the mmproj; the model takes no images: ask"):
        invoke(graph, {"messages": "q"})
