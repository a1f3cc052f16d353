"""Whose failure it is: that of a job's folder, or of the job."""

import pytest
from filelock import Timeout

from moa_graph.cli.errors import CommandError
from moa_graph.cli.jobs import lock_folder


@pytest.mark.parametrize("error", [ConnectionResetError(104, "reset"), Timeout("another.lock")])
def test_failure_of_a_job_is_not_told_as_one_of_its_folder(error, tmp_path):
    with pytest.raises(type(error)) as caught, lock_folder(tmp_path / "job"):
        raise error
    assert caught.value is error


def test_folder_that_cannot_be_made_or_is_taken_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CommandError, match=r"file: File exists"), lock_folder(tmp_path / "file"):
        raise AssertionError
    with (
        lock_folder(tmp_path / "job"),
        pytest.raises(CommandError, match="another process is working in"),
        lock_folder(tmp_path / "job"),
    ):
        raise AssertionError
