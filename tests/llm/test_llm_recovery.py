"""A thread goes on after a kill, and a call whose answer is stored is not made again."""

import signal
import sqlite3
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from forked import Forked
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

    def run(config, question, asked, proposals):
        words = [MOA, "ask", question, "--config", config, "--thread", "t", "--db", db]

        def there():
            return llama.calls_of(asked) and stored() == proposals

        with llama.holding(asked), Forked(words) as process:
            wait_for(lambda: there() or process.poll() is not None, PATIENCE)
        assert process.returncode == -signal.SIGKILL

    return run


@pytest.mark.parametrize(
    ("template", "layers", "aggregator", "asked", "proposals"),
    [
        ("own", DEEP, "w", "d", 3),
        ("gemma", FLAT, "w", "w", 2),
        ("alternating", FLAT, NO_MODEL, "b", 1),
    ],
)
def test_killed_run_goes_on_without_the_stored_calls(
    moa, llama, db, write_mixture, ask_and_kill, layers, aggregator, asked, proposals
):
    ask_and_kill(write_mixture(layers, aggregator), QUESTION, asked, proposals)
    done = moa("resume", "t", db=db)
    assert done.returncode == 0
    notes = done.stderr.splitlines()  # `max_tokens` cuts the answers of this model
    assert all("incomplete" in note for note in notes), notes
    assert done.stdout.strip()
    times = Counter(call.model for call in llama.calls)
    models = {name for layer in [*layers, [aggregator]] for name in layer} - {NO_MODEL}
    assert times == {name: 2 if name == asked else 1 for name in models}
    first, second = llama.calls_of(asked)
    assert second.messages == first.messages
    if asked == aggregator:
        assert done.stdout.strip() == second.text.strip()


in_each_template = pytest.mark.parametrize(
    ("template", "aggregator"),
    [("own", "w"), ("alternating", NO_MODEL)],
)


class TestFailedQuestion:
    """Another question on the same thread takes its place."""

    @pytest.fixture(autouse=True)
    def _moa(self, moa, db, llama):
        self.moa, self.db, self.llama = moa, db, llama

    def ask(self, question, *words):
        """Ask on thread `t`; give what came, and the calls that were made for it."""
        before = len(self.llama.calls)
        done = self.moa("ask", question, "--thread", "t", *words, db=self.db)
        return done, self.llama.calls[before:]

    def assert_only_the_next_are_sent(self, *words):
        """Ask two more questions, and see what is sent for them."""
        second, calls = self.ask(QUESTION, *words)
        assert second.returncode == 0, second.stderr
        asked = [{"role": "user", "content": QUESTION}]
        assert [conversation(call) for call in calls] == [asked] * len(calls)
        third, calls = self.ask("And at night?")
        assert third.returncode == 0, third.stderr
        asked.append({"role": "assistant", "content": second.stdout.removesuffix("\n")})
        asked.append({"role": "user", "content": "And at night?"})
        assert [conversation(call) for call in calls] == [asked] * len(calls)
        assert {call.model for call in calls} >= {"a", "b"}

    @in_each_template
    def test_that_was_too_long_is_not_sent_again(self, write_mixture, aggregator):
        config = write_mixture(FLAT, aggregator)
        failed, _ = self.ask("word " * 1500, "--config", config)
        assert failed.returncode == 1
        assert "exceeds the available context size (1024 tokens)" in failed.stderr
        self.assert_only_the_next_are_sent()

    @in_each_template
    def test_whose_aggregator_failed_is_not_sent_again(self, write_mixture, aggregator):
        self.llama.faults["w"] = [500]
        failed, calls = self.ask("Who was Ada?", "--config", write_mixture(FLAT, "w"))
        assert (failed.returncode, calls[-1].status) == (1, 500)
        assert "no final answer: aggregator: " in failed.stderr
        self.assert_only_the_next_are_sent("--config", write_mixture(FLAT, aggregator))

    @pytest.mark.parametrize("template", ["alternating"])
    def test_that_was_killed_is_not_sent_again(self, write_mixture, ask_and_kill):
        ask_and_kill(write_mixture(FLAT, NO_MODEL), "Who was Ada?", "b", 1)
        self.assert_only_the_next_are_sent()


def conversation(call):
    """Give what was sent, without what a mixture tells its readers."""
    return [message for message in call.messages if message["role"] != "system"]
