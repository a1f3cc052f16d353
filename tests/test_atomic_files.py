"""Files that are written as a whole."""

import os

import pytest

from moa_graph.atomic_files import replaced_file, write_text


def test_new_content_replaces_the_old_one_at_the_end(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with replaced_file(path) as file:
        file.write(b"new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_failure_leaves_the_old_content_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    write_text(path, "old")
    with pytest.raises(TypeError), replaced_file(path) as file:
        file.writelines([b"new", None])
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_written_through_a_link_or_file_of_somebody_else(tmp_path):
    """A name that can be guessed is not used: whatever lies there is neither read nor written."""
    foreign = tmp_path / "foreign"
    foreign.write_text("theirs")
    path = tmp_path / "file"
    (tmp_path / f"file.{os.getpid()}.part").symlink_to(foreign)
    write_text(path, "new")
    assert path.read_text() == "new"
    assert not path.is_symlink()
    assert foreign.read_text() == "theirs"


def test_name_may_be_as_long_as_the_file_system_takes(tmp_path):
    path = tmp_path / ("語" * 85)  # of three bytes each
    write_text(path, "new")
    assert path.read_text() == "new"


def test_two_threads_may_replace_one_file(tmp_path):
    path = tmp_path / "file"
    with replaced_file(path) as first:
        first.write(b"first")
        write_text(path, "second")
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]
