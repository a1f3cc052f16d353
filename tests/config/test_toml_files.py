"""What is said of TOML files that are wrong: mixtures, plans and judges say it alike."""

import pytest

from moa_graph import MoAConfig
from moa_graph.evals.judging.judge import read_judge
from moa_graph.evals.plan import EvalPlan


@pytest.mark.parametrize("load", [MoAConfig.load, EvalPlan.load, read_judge])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a = ", "not valid TOML: "),
        (b"a = '\xff'", "not UTF-8 text, as TOML must be"),
        (b"nonsense = 1", "nonsense: unknown key; expected one of: |required, but missing"),
    ],
)
def test_mistake_names_the_file_and_what_is_expected(load, content, message, tmp_path):
    path = tmp_path / "file.toml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"(?s){path}: .*({message})"):
        load(str(path))
