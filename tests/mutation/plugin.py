"""Runs tests on mutants, in place of pytest's own loop: tests are collected once.

Each mutant has a forked process, in which it meets the tests that run its function, the fastest
first, until one fails.
"""

import json
import os
import random
import resource
import signal
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from mutants import Mutant, find_mutants, record_calls

HYPOTHESIS_PROFILE = "mutants"
_NOTICED, _SURVIVED, _NO_TESTS, _TIMEOUT = "noticed", "survived", "no test", "timeout"
_SECONDS, _TIMES = 10, 10  # a test may take so long on a mutant, and so often what it takes without
_MEMORY = 4 * 2**30


@dataclass
class _CleanRun:
    """What tests did without a mutant."""

    calls: dict[str, list[str]] = field(default_factory=dict)
    """The tests that call each function."""
    seconds: dict[str, float] = field(default_factory=dict)
    """How long each test took."""
    failures: dict[str, str] = field(default_factory=dict)
    """What the tests that failed said."""

    def choose_tests(self, function: str, items: Sequence[pytest.Item]) -> list[pytest.Item]:
        """Give the tests that call a function, the fastest first."""
        called = {*self.calls.get(function, ())} & {*self.seconds}
        tests = [item for item in items if item.nodeid in called]
        return sorted(tests, key=lambda item: self.seconds[item.nodeid])


@dataclass
class MutationPlugin:
    """Runs tests on a sample of the mutants of each module."""

    modules: Mapping[str, Sequence[Path]]
    """The files with the tests of each module, by its name."""
    sample: int | None
    """How many mutants of each module are run; all where there are fewer, or with `None`."""
    seed: int
    show: bool
    """Whether the mutants that survive are shown."""
    folder: Path
    """For files."""
    _results: dict[str, Counter[str]] = field(default_factory=dict)
    _skipped: list[str] = field(default_factory=list)
    _failures: dict[str, str] = field(default_factory=dict)
    _is_mutant: bool = False

    @pytest.hookimpl(tryfirst=True)  # before Hypothesis loads it
    def pytest_configure(self) -> None:
        """Have what one mutant failed on neither made smaller nor tried on the next."""
        from hypothesis import HealthCheck, Phase, settings

        settings.register_profile(
            HYPOTHESIS_PROFILE,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
            phases=[Phase.explicit, Phase.generate],
            database=None,
        )

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """End the process of a mutant that a test notices."""
        if report.failed and self._is_mutant:
            os._exit(1)
        if report.failed:
            self._failures[report.nodeid] = f"{report.nodeid}\n{report.longreprtext}"

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run each module's tests without a mutant, then on each mutant."""
        for module, files in self.modules.items():
            self._run_module(module, [item for item in session.items if item.path in files])
        self._print_results()
        session.testsfailed = len(self._skipped)
        return True

    def _run_module(self, module: str, items: Sequence[pytest.Item]) -> None:
        clean = self._find_reliable_tests(module, items)
        if not clean:
            self._skipped.append(module)
            return
        mutants = find_mutants(module)
        self._results[module] = results = Counter[str](all=len(mutants))
        chosen = self._choose_mutants(module, mutants)
        for count, mutant in enumerate(chosen, 1):
            tests = clean.choose_tests(mutant.function, items)
            result = self._run_on_mutant(mutant, tests, clean.seconds)
            results[result] += 1
            place = f"{module} {count}/{len(chosen)}"
            print(f"{place}: mutant {mutant.number} of {mutant.function}: {result}", flush=True)
            if self.show and result in {_SURVIVED, _NO_TESTS}:
                print(mutant.diff(), flush=True)

    def _choose_mutants(self, module: str, mutants: list[Mutant]) -> list[Mutant]:
        if self.sample is None or len(mutants) <= self.sample:
            return mutants
        chosen = random.Random(f"{self.seed} {module}").sample(mutants, self.sample)
        return sorted(chosen, key=lambda mutant: mutant.number)

    def _find_reliable_tests(self, module: str, items: Sequence[pytest.Item]) -> _CleanRun | None:
        """Run the tests without a mutant; `None` if some fail, and fail once more."""
        clean = self._run_without_mutant(module, items)
        failed = [item for item in items if item.nodeid in clean.failures]
        again = self._run_without_mutant(module, failed) if failed else _CleanRun()
        if again.failures or not items:
            print(f"{module}: skipped, for its tests fail without a mutant:", flush=True)
            print("\n".join(again.failures.values()) or "none was found", flush=True)
            return None
        for item in failed:
            print(f"{module}: left out, it failed once without a mutant: {item.nodeid}", flush=True)
            del clean.seconds[item.nodeid]
        print(
            f"{module}: {len(clean.seconds)} tests without a mutant: "
            f"{sum(clean.seconds.values()):.0f} s",
            flush=True,
        )
        return clean

    def _run_without_mutant(self, module: str, items: Sequence[pytest.Item]) -> _CleanRun:
        """Find which tests call each function, how long each test takes, and which fail."""
        told = self.folder / "without_mutant.json"
        told.unlink(missing_ok=True)

        def run() -> None:
            calls, seconds, called = defaultdict[str, list[str]](list), {}, set[tuple[str, str]]()
            record_calls(module, called.add)
            for item, following in _in_pairs(items):
                called.clear()
                began = monotonic()
                item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
                seconds[item.nodeid] = monotonic() - began
                for _, function in called:
                    calls[function].append(item.nodeid)
            told.write_text(json.dumps([calls, seconds, self._failures]))

        status = _run_in_child(run)
        if not told.exists():
            ending = f"the process of the tests ended with status {status}"
            return _CleanRun(failures={item.nodeid: ending for item in items})
        return _CleanRun(*json.loads(told.read_text()))

    def _run_on_mutant(
        self, mutant: Mutant, items: Sequence[pytest.Item], seconds: Mapping[str, float]
    ) -> str:
        if not items:
            return _NO_TESTS

        def run() -> None:
            mutant.take_effect()
            self._is_mutant = True
            for item, following in _in_pairs(items):
                limit = _SECONDS + _TIMES * seconds[item.nodeid]
                signal.setitimer(signal.ITIMER_REAL, limit)
                item.ihook.pytest_runtest_protocol(item=item, nextitem=following)

        status = _run_in_child(run)
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM:
            return _TIMEOUT
        return _NOTICED if status else _SURVIVED

    def _print_results(self) -> None:
        print("\nmodule                      mutants  run  noticed  of these by time  score")
        for module, counts in self._results.items():
            run = sum(counts.values()) - counts["all"]
            noticed = counts[_NOTICED] + counts[_TIMEOUT]
            print(
                f"{module.removeprefix('moa_graph.'):<27} {counts['all']:>7} {run:>4} {noticed:>8} "
                f"{counts[_TIMEOUT]:>17}  {noticed / run:>5.0%}"
            )
        for module in self._skipped:
            print(f"{module.removeprefix('moa_graph.')}: skipped")


def _in_pairs(items: Sequence[pytest.Item]) -> Iterable[tuple[Any, Any]]:
    return zip(items, [*items[1:], None], strict=True)


def _run_in_child(run: Callable[[], None]) -> int:
    """Run in a forked process, and give its wait status."""
    if pid := os.fork():
        return os.waitpid(pid, 0)[1]
    try:
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):
            os.dup2(nothing, descriptor)
        resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        run()
        os._exit(0)
    finally:
        os._exit(2)
