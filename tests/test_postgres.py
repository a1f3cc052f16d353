"""The PostgreSQL of the tests starts, however busy the machine is."""

import postgres
import pytest
from postgres import PostgresServer, postgres_server

pytestmark = pytest.mark.postgres


def test_server_that_does_not_start_is_begun_anew(monkeypatch):
    servers, command = [], PostgresServer.command

    def fail_at_first(server, programs):
        servers.append(server)
        return ["false"] if len(servers) == 1 else command(server, programs)

    monkeypatch.setattr(PostgresServer, "command", fail_at_first)
    with postgres_server() as server:
        assert server.listens()
        assert server is servers[1]
    assert not any(server.folder.parent.exists() for server in servers)


def test_server_that_never_starts_says_why(monkeypatch):
    monkeypatch.setattr(postgres, "TRIES", 2)
    monkeypatch.setattr(postgres, "OPTIONS", ("-c", "no_such_option=1"))
    with pytest.raises(ExceptionGroup) as failed, postgres_server():
        pass
    assert len(failed.value.exceptions) == postgres.TRIES
    assert all("no_such_option" in str(failure) for failure in failed.value.exceptions)
