"""The worked time of a turn excludes the pauses between its runs."""

import pytest

from moa_graph.runs.live import AgentProgress
from moa_graph.server.worked_time import WorkedTime


def call(asked, seconds):
    return AgentProgress(f"n{asked}", 1, "a", "m", called_at=asked, seconds=seconds)


def test_run_without_a_pause_takes_from_its_first_call_to_the_end_of_its_last():
    worked = WorkedTime.from_agents([call(100.0, 2.0), call(103.0, 1.0)], [99.0])
    assert worked.total == 4.0
    assert worked.until(103.0) == 3.0


def test_pauses_before_each_run_are_left_out():
    calls = [call(100.0, 2.0), call(200.0, 3.0), call(300.0, 1.0)]
    worked = WorkedTime.from_agents(calls, [99.0, 199.0, 299.0])
    assert worked.until(200.0) == pytest.approx(3.0)
    assert worked.until(300.0) == pytest.approx(7.0)
    assert worked.total == pytest.approx(8.0)


def test_run_of_which_nothing_is_kept_is_part_of_the_pause():
    worked = WorkedTime.from_agents([call(100.0, 2.0), call(300.0, 1.0)], [99.0, 150.0, 299.0])
    assert worked.total == pytest.approx(4.0)


def test_call_that_ended_after_the_next_run_began_leaves_no_pause():
    assert WorkedTime.from_agents([call(100.0, 9.0), call(106.0, 1.0)], [99.0, 105.0]).pauses == []


def test_turn_of_which_nobody_was_asked_took_no_time():
    worked = WorkedTime.from_agents([AgentProgress("n", 1, "a", "m")], [99.0])
    assert (worked.total, worked.until(None)) == (0.0, None)
