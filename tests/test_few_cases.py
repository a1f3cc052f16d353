"""The option `--few-cases` runs two cases of each test."""

from pathlib import Path

import pytest

pytestmark = pytest.mark.filterwarnings("default")  # of pytest itself, which runs inside

TESTS = """
import pytest

def test_alone():
    pass

LAST = pytest.param("last", marks=pytest.mark.y)

@pytest.mark.parametrize("case", ["first", "second", "third", LAST])
def test_with_cases(case):
    assert case != "second"
"""


@pytest.mark.parametrize(
    ("words", "passed"), [((), 4), (("--few-cases",), 3), (("--few-cases", "-m", "not y"), 3)]
)
def test_first_and_last_case_of_those_that_are_selected_are_run(
    pytester, monkeypatch, words, passed
):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # they take seconds to import
    pytester.makepyfile(TESTS)
    pytester.makeini("[pytest]\nmarkers = y: some")
    done = pytester.runpytest_inprocess("-p", "few_cases", *words)
    failed = 0 if words else 1
    done.assert_outcomes(passed=passed, failed=failed, deselected=5 - passed - failed)
