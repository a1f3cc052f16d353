"""A skip that nobody expects fails the run, and so does one that is expected but not seen."""

from pathlib import Path

import pytest

pytestmark = pytest.mark.filterwarnings("default")  # of pytest itself, which runs inside

TESTS = """
import pytest

def test_that_runs():
    pass

@pytest.mark.skip(reason="no b: is installed")
def test_that_needs_b():
    pass

@pytest.mark.xfail(reason="known to fail")
def test_that_is_known_to_fail():
    raise ValueError
"""
EXPECTED = "# a comment\n\ntest_a.py: no b: is installed\n"


@pytest.fixture
def run(pytester, monkeypatch):
    """Run tests with a list of the skips that are expected."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # they take seconds to import

    def run(expected, *words, tests=TESTS, workers=False):
        pytester.makepyfile(test_a=tests, test_c="def test_that_runs(): pass")
        pytester.makefile(".txt", expected=expected)
        options = ["-p", "expected_skips", "--expected-skips=expected.txt"]
        if workers:
            return pytester.runpytest_subprocess(*options, "-p", "xdist", "--numprocesses=2")
        return pytester.runpytest_inprocess(*options, *words)

    return run


def test_expected_skip_passes(run):
    assert run(EXPECTED).ret == 0


@pytest.mark.parametrize("workers", [False, pytest.param(True, marks=pytest.mark.process)])
def test_unexpected_skip_fails(run, workers):
    done = run("", workers=workers)
    assert done.ret == 1
    done.stdout.fnmatch_lines(
        ["*skipped, and not expected to be*", "test_a.py: no b: is installed"]
    )


def test_skip_for_another_reason_is_unexpected(run):
    assert run("test_a.py: no c is installed\n").ret == 1


@pytest.mark.parametrize("workers", [False, pytest.param(True, marks=pytest.mark.process)])
def test_skip_of_a_whole_file_is_told(run, workers):
    whole = 'import pytest\npytest.importorskip("no_such_module")'
    done = run("", tests=whole, workers=workers)
    assert done.ret == 1
    done.stdout.fnmatch_lines(["test_a.py: could not import 'no_such_module'*"])


def test_expected_skip_that_did_not_happen_fails(run):
    done = run(f"{EXPECTED}test_a.py: no c is installed\n")
    assert done.ret == 1
    done.stdout.fnmatch_lines(["*and not skipped*", "test_a.py: no c is installed"])


def test_expected_skip_of_a_file_that_is_gone_fails(run):
    assert run(f"{EXPECTED}test_gone.py: no c is installed\n").ret == 1


def test_expected_skip_of_tests_that_are_not_run_passes(run):
    assert run(EXPECTED, "test_c.py").ret == 0


def test_line_without_a_reason_is_refused(run):
    done = run("test_a.py\n")
    assert done.ret == 4
    done.stderr.fnmatch_lines(["*a line is 'FILE: REASON', not 'test_a.py'*"])
