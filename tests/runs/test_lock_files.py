"""A lock file is held by one at a time, although it is deleted when nobody holds it."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Barrier, Lock

import pytest
from filelock import FileLock

from moa_graph.runs.lock_files import hold_lock_file


def test_second_holder_is_refused_until_the_first_lets_go(tmp_path):
    path = tmp_path / "lock"
    with hold_lock_file(path) as first, hold_lock_file(path) as second:
        assert (first, second) == (True, False)
    assert not path.exists()
    with hold_lock_file(path) as again:
        assert again


def test_file_that_was_deleted_before_it_was_held_does_not_count(tmp_path, monkeypatch):
    path, held = tmp_path / "lock", ExitStack()
    acquire = FileLock.acquire

    def delete_first(lock, *args, **options):
        """Be the process that deletes the file and one that makes another, in between."""
        monkeypatch.setattr(FileLock, "acquire", acquire)
        result = acquire(lock, *args, **options)
        path.unlink()
        assert held.enter_context(hold_lock_file(path))
        return result

    path.touch()
    monkeypatch.setattr(FileLock, "acquire", delete_first)
    with held, hold_lock_file(path) as second:
        assert not second


def test_file_that_is_deleted_while_it_is_opened_is_made_anew(tmp_path, monkeypatch):
    path, acquire = tmp_path / "lock", FileLock.acquire

    def find_nothing(lock, *args, **options):
        """Be the filelock that saw a file which another process deletes before it is opened."""
        monkeypatch.setattr(FileLock, "acquire", acquire)
        raise FileNotFoundError(path)

    monkeypatch.setattr(FileLock, "acquire", find_nothing)
    with hold_lock_file(path) as is_held:
        assert is_held
    assert not path.exists()


def test_link_to_a_folder_that_is_not_there_is_no_lock(tmp_path):
    path = tmp_path / "lock"
    path.symlink_to(tmp_path / "nowhere" / "lock")
    with pytest.raises(OSError, match="lock"), hold_lock_file(path):
        pass


def test_never_two_hold_a_lock_at_once(tmp_path):
    path, barrier, inside = tmp_path / "lock", Barrier(4), Lock()
    won = []

    def compete(_):
        barrier.wait(60)
        for _ in range(200):
            with hold_lock_file(path) as is_held:
                if is_held:
                    assert inside.acquire(blocking=False)
                    won.append(1)
                    inside.release()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(compete, range(4)))
    assert won
