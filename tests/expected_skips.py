"""The option `--expected-skips FILE`: a run fails where another test is skipped than FILE lists.

A test that is skipped checks nothing, and nobody sees it. Each line of FILE names the file of a
test and the reason of its skip, `tests/test_a.py: no b is installed`. An expected skip that did not
happen fails the run too, where tests of that file were run, or where the file is gone.
"""

from pathlib import Path
from typing import NamedTuple

import pytest


class Skip(NamedTuple):
    """One reason why tests of a file are skipped."""

    file: str
    reason: str

    def __str__(self):
        return f"{self.file}: {self.reason}"


def read_skips(path):
    """Read the skips that a file lists; blank lines and those that begin with # are comments."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    listed = [line.partition(": ") for line in lines if line and not line.startswith("#")]
    if wrong := [file for file, colon, _ in listed if not colon]:
        raise pytest.UsageError(f"{path}: a line is 'FILE: REASON', not {wrong[0]!r}")
    return {Skip(file, reason) for file, _, reason in listed}


class SkipCheck:
    """Compares the skips of a session with those that are expected."""

    def __init__(self, root, expected):
        self.root, self.expected = root, expected
        self.seen, self.files = set(), set()  # of tests that were run or skipped

    def pytest_runtest_logreport(self, report):
        self.files.add(report.nodeid.partition("::")[0])
        self.note(report)

    def pytest_collectreport(self, report):
        self.note(report)

    def note(self, report):
        if report.skipped and not hasattr(report, "wasxfail"):
            _, _, reason = report.longrepr
            reason = " ".join(reason.removeprefix("Skipped: ").split())
            self.seen.add(Skip(report.nodeid.partition("::")[0], reason))

    @property
    def unexpected(self):
        return sorted(self.seen - self.expected)

    @property
    def stale(self):
        """Tell which expected skips did not happen, although they could have."""
        return sorted(
            skip
            for skip in self.expected - self.seen
            if skip.file in self.files or not (self.root / skip.file).exists()
        )

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session, exitstatus):
        if exitstatus == pytest.ExitCode.OK and (self.unexpected or self.stale):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter):
        for title, skips in (
            ("skipped, and not expected to be", self.unexpected),
            ("expected to be skipped, and not skipped", self.stale),
        ):
            if skips:
                terminalreporter.section(title, red=True)
                for skip in skips:
                    terminalreporter.line(str(skip))


def pytest_addoption(parser):
    parser.addoption(
        "--expected-skips",
        type=Path,
        metavar="FILE",
        help="fail where another test is skipped than FILE lists",
    )


def pytest_configure(config):
    path = config.getoption("--expected-skips")
    if path and not hasattr(config, "workerinput"):  # pytest-xdist's workers report to the first
        check = SkipCheck(config.rootpath, read_skips(config.invocation_params.dir / path))
        config.pluginmanager.register(check, "expected skips")
