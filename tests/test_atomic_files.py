"""Files that are written as a whole."""

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
