"""What the page asks of a server, by HTTP."""

import json

from waiting import wait_for


def ask(client, question="why?", **more):
    response = client.post("/api/ask", json={"question": question, **more})
    assert response.status_code == 200, response.text
    return response.json()["thread"]


def watch(client, thread):
    """Read a run to its end."""
    with client.stream("GET", "/api/events", params={"id": thread}) as response:
        lines = [line for line in response.iter_lines() if line.startswith("data:")]
    return [json.loads(line.removeprefix("data:")) for line in lines]


def show(client, thread, **more):
    return client.get("/api/thread", params={"id": thread, **more}).json()


def finished(client, thread):
    wait_for(lambda: not (shown := show(client, thread))["running"] and shown["steps"])
    return show(client, thread)


def refused(response, status, words):
    assert response.status_code == status, response.text
    assert words in response.json()["error"]["message"]
