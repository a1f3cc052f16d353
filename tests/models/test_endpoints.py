"""Addresses and keys that cannot be right are told by name, before anybody is asked."""

import pytest

from moa_graph import Agent, MoAConfig, create_moa
from moa_graph.models.agent import build_model

GOOD_URLS = [
    "http://localhost:11434/v1",
    "http://localhost:8080",
    "https://api.example.com/v1/",
    "https://gateway.example.com/openai/deployments/gpt?api-version=2025-01-01",
    "https://resource.services.ai.azure.com/models",
    "http://[::1]:8080/v1",
    "http://192.168.0.7:8000/v1",
    "http://llama_cpp:8080/v1",
    "http://bücher.example/v1",
    "http://host.docker.internal./v1",
    "https://example.com/completions-proxy/v1",
]
BAD_URLS = {
    "localhost:8080/v1": r"did you mean 'http://localhost:8080/v1'\?",
    "api.example.com/v1": r"did you mean 'http://api.example.com/v1'\?",
    "htp://host/v1": "expected a URL, such as",
    "http:/host/v1": "expected a URL, such as",
    "https//host/v1": "expected a URL, such as",
    "http://http://host/v1": "expected a URL",
    "http:///v1": "expected a URL",
    "file:///etc/passwd": "expected a URL",
    "": "expected a URL",
    "http://host/v1 ": "without spaces",
    " http://host/v1": "without spaces",
    "http://host/v1\n": "without spaces",
    "http://ho st/v1": "without spaces",
    "http://host/v1\u200b": "without spaces",
    "http://host\u00a0/v1": "without spaces",
    "'http://host/v1'": "quotes",
    "“http://host/v1”": "quotes",
    "https://<resource>.example.com/v1": "brackets",
    "https://{host}/v1": "brackets",
    "http://host/v1#top": "'#'",
    "http://host\\v1": "expected a URL",
    "http://host:99999/v1": "valid host and port",
    "http://host:0/v1": "valid host and port",
    "http://host:port/v1": "valid host and port",
    "http://host:-1/v1": "valid host and port",
    "http://[::1/v1": "valid host and port",
    "http://a..b/v1": "valid host and port",
    "http://.example.com/v1": "valid host and port",
    "http://256.1.1.1/v1": "valid host and port",
    "http://192.168.0/v1": "valid host and port",
    "http://1.2.3.4.5:8080/v1": "valid host and port",
    f"http://{'a' * 64}.com/v1": "valid host and port",
    "http://host/v1/chat/completions": "write 'http://host/v1'",
    "http://host/v1/chat/completions/": "write 'http://host/v1'",
    "http://host/v1/completions": "write 'http://host/v1'",
    "https://host/v1/responses": "write 'https://host/v1'",
    "https://host/v1/messages": "write 'https://host/v1'",
    "http://host:11434/api/chat": "write 'http://host:11434'",
}


@pytest.mark.parametrize("url", GOOD_URLS)
def test_address_that_can_be_right_is_taken(url):
    assert Agent(model="openai:a", base_url=url).base_url == url


@pytest.mark.parametrize(("url", "told"), BAD_URLS.items())
def test_address_that_cannot_be_right_is_refused_by_name(url, told):
    with pytest.raises(ValueError, match=f"(?s)base_url.*{told}"):
        Agent(model="openai:a", base_url=url)


@pytest.mark.parametrize(
    "url", ["http://me:geheim@host/v1", "http://me:geheim@host:x/v1", "http://geheim@[::1/v1"]
)
def test_password_in_an_address_is_not_repeated(url):
    with pytest.raises(ValueError, match="without a password") as told:
        Agent(model="openai:a", base_url=url)
    assert "geheim" not in str(told.value)


def test_file_says_where_the_address_stands(tmp_path):
    file = tmp_path / "m.toml"
    file.write_text(
        'layers = [["a"]]\naggregator = "a"\n[agents.a]\n'
        'model = "openai:m"\nbase_url = "http://host/v1/chat/completions"\n'
    )
    with pytest.raises(ValueError, match=r"base_url: expected the part .*'http://host/v1'"):
        MoAConfig.load(file)


@pytest.mark.parametrize(
    ("model", "variable"),
    [
        ("openai:a", "OPENAI_BASE_URL"),
        ("openai:a", "OPENAI_API_BASE"),
        ("together:a", "TOGETHER_API_BASE"),
    ],
)
def test_address_of_the_environment_is_refused_by_its_variable(model, variable, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")
    monkeypatch.setenv("TOGETHER_API_KEY", "key-mine")
    monkeypatch.setenv(variable, "localhost:8080/v1")
    with pytest.raises(ValueError, match=f"^{variable}: expected a URL.*did you mean 'http://"):
        create_moa([[model]], model)


GOOD_KEYS = ["sk-proj-A1b2_C3", "none", "EMPTY", "x", "token-abc123", "a/b+c==", "hf_xyzzy", "my-1"]
BAD_KEYS = {
    "sk-geheim1\n": "line break",
    " sk-geheim1": "a space",
    "sk-geh eim1": "a space",
    "sk-geh\neim1": "line break",
    "sk-geheim1\u200b": "invisible",
    '"sk-geheim1"': "in quotes",
    "'sk-geheim1'": "in quotes",
    "“sk-geheim1”": "in quotes",
    "sk-geheimé": "not ASCII",
    "Bearer sk-geheim1": "'Bearer'",
    "SERVER_KEY=sk-geheim1": "name of the variable",
    "export SERVER_KEY=sk-geheim1": "name of the variable",
}
PLACEHOLDERS = [
    *("...", "sk-...", "sk-…", "<your key>", "<API_KEY>", "$SERVER_KEY", "${SERVER_KEY}"),
    *("sk-xxxx", "sk-proj-xxxxxxxx", "xxx", "your-api-key", "YOUR_API_KEY", "sk-your-key-here"),
    *("your_openai_api_key_here", "changeme", "TODO", "****", "{{key}}", "insert-key-here"),
]


@pytest.fixture
def build(server, monkeypatch):
    """Build a model of the local server with a key."""

    def make(key):
        monkeypatch.setenv("SERVER_KEY", key)
        return build_model(Agent(model="openai:a", base_url=server.url, api_key_env="SERVER_KEY"))

    return make


@pytest.mark.parametrize("key", GOOD_KEYS)
def test_key_that_can_be_one_is_sent(key, build, server, invoke):
    invoke(build(key), "q")
    assert server.calls[0].headers["authorization"] == f"Bearer {key}"


@pytest.mark.parametrize(("key", "told"), BAD_KEYS.items())
def test_key_that_cannot_be_one_is_told_by_its_variable(key, told, build, server):
    with pytest.raises(ValueError, match=f"^SERVER_KEY is not a valid key: .*{told}") as error:
        build(key)
    assert "geh" not in str(error.value)
    assert server.calls == []


@pytest.mark.parametrize("key", PLACEHOLDERS)
def test_placeholder_is_told_as_such(key, build):
    with pytest.raises(ValueError, match=r"^SERVER_KEY is not a valid key: it is a placeholder"):
        build(key)


def test_key_that_a_package_reads_by_itself_is_checked_too(monkeypatch):
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OPENAI_API_VERSION", "2025-01-01")
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", '"geheim-1"')
    with pytest.raises(ValueError, match=r"`openai_api_key` of AzureChatOpenAI .*quotes") as error:
        build_model(Agent(model="azure_openai:a"))
    assert "geheim" not in str(error.value)


def test_command_says_it_in_a_line(moa, monkeypatch, server, tmp_path):
    file = tmp_path / "m.toml"
    agent = f'{{ model = "openai:a", base_url = "{server.url}", api_key_env = "SERVER_KEY" }}'
    file.write_text(f"layers = [[{agent}]]\naggregator = {agent}\n")
    done = moa("ask", "q", "--config", file, env={"SERVER_KEY": "sk-..."})
    assert done.returncode == 1
    assert "SERVER_KEY is not a valid key: it is a placeholder" in done.stderr
    assert server.calls == []


@pytest.mark.parametrize("name", ["api-key", "api_key", "key", "access_token", "sig", "X-Secret"])
def test_key_in_an_address_is_refused_and_not_repeated(name):
    """Addresses are stored with each checkpoint, and shown."""
    with pytest.raises(ValueError, match="without a key") as told:
        Agent(model="openai:m", base_url=f"http://h/v1?api-version=1&{name}=12345678")
    assert name in str(told.value)
    assert "12345678" not in str(told.value)
    assert Agent(model="openai:m", base_url="http://h/v1?api-version=2024-10-21&keyword=x")
