"""A thread goes on after a kill, and a call whose answer is stored is not made again."""

import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from waiting import wait_for

pytestmark = pytest.mark.llm

MOA = Path(sys.executable).parent / "moa"
PATIENCE = 120.0  # seconds until a process has come to a call: a busy machine is no finding
QUESTION = "Why is the sky blue?"
STORED = "SELECT count(*) FROM writes WHERE channel = 'proposals'"
DEEP = [["a", "b"], ["c", "d"]]
FLAT = [["a", "b"]]
NO_MODEL = "offline:consensus"


@pytest.fixture
def db(tmp_path):
    return tmp_path / "runs.sqlite"


@pytest.fixture
def write_mixture(llama, tmp_path):
    """Write the configuration of a mixture whose agents have names of one letter."""

    def write(layers, aggregator):
        options = f'base_url = "{llama.url}", max_tokens = 16, temperature = 0, max_retries = 0'
        agents = (f'{name} = {{ model = "openai:{name}", {options} }}\n' for name in "abcdw")
        path = tmp_path / "mixture.toml"
        head = f'name = "test"\nlayers = {layers}\naggregator = "{aggregator}"\n'
        path.write_text(f"{head}[agents]\n{''.join(agents)}", encoding="utf-8")
        return path

    return write


@pytest.fixture
def ask_and_kill(llama, db):
    """Ask on thread `t`; kill the process while a model is asked and so much is stored."""

    def stored():
        with closing(sqlite3.connect(f"file:{db}?mode=ro", uri=True)) as database:
            return database.execute(STORED).fetchone()[0]

    def run(config, asked, proposals):
        words = [MOA, "ask", QUESTION, "--config", config, "--thread", "t", "--db", db]

        def there():
            return llama.calls_of(asked) and stored() == proposals

        with llama.holding(asked), subprocess.Popen(words) as process:
            try:
                wait_for(lambda: there() or process.poll() is not None, PATIENCE)
            finally:
                process.kill()
        assert process.returncode == -signal.SIGKILL

    return run


@pytest.mark.parametrize(
    ("template", "layers", "aggregator", "asked", "proposals"),
    [
        ("own", DEEP, "w", "d", 3),
        ("gemma", FLAT, "w", "w", 2),
        ("no_system", FLAT, NO_MODEL, "b", 1),
        ("alternating", FLAT, NO_MODEL, "b", 1),
    ],
)
def test_killed_run_goes_on_without_the_stored_calls(
    moa, llama, db, write_mixture, ask_and_kill, layers, aggregator, asked, proposals
):
    ask_and_kill(write_mixture(layers, aggregator), asked, proposals)
    done = moa("resume", "t", db=db)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip()
    times = Counter(call.model for call in llama.calls)
    models = {name for layer in [*layers, [aggregator]] for name in layer} - {NO_MODEL}
    assert times == {name: 2 if name == asked else 1 for name in models}
    first, second = llama.calls_of(asked)
    assert second.messages == first.messages
    if asked == aggregator:
        assert done.stdout.strip() == second.text.strip()
