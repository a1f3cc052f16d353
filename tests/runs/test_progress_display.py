"""How far the work is, where there is no terminal."""

import threading

from waiting import wait_for

from moa_graph.runs.job_progress import JobProgress
from moa_graph.runs.progress_display import progress_display


def test_a_line_is_printed_for_each_tenth(capsys):
    with progress_display("work") as show:
        for done in range(806):
            show(JobProgress(805, done=done, tokens=done, failed=0))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10
    assert lines[0].startswith("work: 81 of 805; 81 tokens; $0.00; about ")
    assert lines[-1] == "work: 805 of 805; 805 tokens; $0.00"


def test_failures_and_unknown_cost_are_told(capsys):
    with progress_display("work") as show:
        show(JobProgress(4, done=1, failed=1, unpriced=2))
    line = capsys.readouterr().err
    assert line.startswith("work: 2 of 4; 0 tokens; cost unknown; 1 failed; about ")


def test_long_work_is_heard_of_between_the_tenths(capsys, monkeypatch):
    now = iter([0.0, 1.0, 3.0, 7300.0])
    monkeypatch.setattr("moa_graph.runs.progress_display.monotonic", lambda: next(now))
    with progress_display("work") as show:
        for done in (1, 1, 2):
            show(JobProgress(1000, done=done))
    assert (
        capsys.readouterr().err == "work: 2 of 1,000; 0 tokens; $0.00; about 1011 h 51 min left\n"
    )


def test_silence_is_told_until_there_are_news(capsys, monkeypatch):
    monkeypatch.setattr("moa_graph.runs.progress_display.SILENCE_S", 0.02)
    told = ""

    def heard(text):
        nonlocal told
        told += capsys.readouterr().err
        return text in told

    with progress_display("work") as show:
        wait_for(lambda: heard("work: still waiting, no answer for "))
        assert " left" not in told
        show(JobProgress(4, done=1))
        wait_for(lambda: heard("; 3 of 4 left\n"))
    capsys.readouterr()
    assert not [each for each in threading.enumerate() if "remind" in each.name]
