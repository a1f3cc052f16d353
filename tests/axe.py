"""axe-core, which looks for what keeps people out of a page."""

from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parent.parent / "node_modules" / "axe-core" / "axe.min.js"


def find_violations(page: Any, *rules: str) -> list[str]:
    """Run rules, by default all, on a page as it is; skip the test where axe is not installed."""
    if not SCRIPT.exists():
        pytest.skip("axe-core is not installed: npm ci")
    if page.evaluate("typeof axe") == "undefined":
        page.evaluate(SCRIPT.read_text(encoding="utf-8"))  # by the debugger: no policy stops it
    options = {"resultTypes": ["violations"], **({"runOnly": list(rules)} if rules else {})}
    found = page.evaluate("options => axe.run(document, options)", options)
    return [
        f"{rule['id']} ({rule['impact']}): {rule['help']}: {node['target']} {node['html'][:200]}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]
