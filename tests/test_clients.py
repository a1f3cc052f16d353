"""The settings of `docs/clients.md` are those by which `tests/clients/run.py` asks."""

import re
from pathlib import Path

import pytest
from clients.run import KINDS, list_clients, list_scripts

HERE = Path(__file__).parent
PAGE = (HERE.parent / "docs" / "clients.md").read_text(encoding="utf-8")
SCRIPTS = [client.path for kind in KINDS for client in list_clients(kind)]


def test_modules_that_clients_share_are_no_clients():
    shared = {path.stem for kind in KINDS for path in list_scripts(kind) if path not in SCRIPTS}
    assert {"probe", "program", "langchain_columns", "ai_sdk_columns"} <= shared


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_settings_of_a_client_are_those_of_the_page(path):
    sections = re.findall(r'read_(?:settings|variables)\(\s*"([^"]+)"', path.read_text("utf-8"))
    for section in sections:
        _, _, rest = PAGE.partition(f"\n## {section}\n")
        assert "```" in rest.partition("\n## ")[0]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_script_says_what_is_installed_for_it(path):
    assert re.search(r"^(#|//) (npm: \S+|dependencies = \[)", path.read_text("utf-8"), re.MULTILINE)


def test_lines_of_the_page_are_those_of_the_script_of_the_ai_sdk():
    (shown,) = re.findall(r"^```js\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    script = (HERE / "clients" / "node" / "ai_sdk_compatible.mjs").read_text("utf-8")
    shown = shown.replace('"http://localhost:8000/v1"', "probe.BASE_URL")
    shown = shown.replace('"my-key"', "probe.KEY").replace('"panel"', "probe.MODEL")
    for line in filter(None, shown.splitlines()):
        assert line in script
