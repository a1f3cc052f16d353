"""What is written of a comparison: every figure labelled, and nothing in it that runs."""

import asyncio
import json
import re
import shutil
from collections import Counter

import pytest
from axe import find_violations
from browser import chromium
from compared import ROWS

from moa_graph.evals.call_store import CallStore
from moa_graph.evals.comparison import list_steps, write_comparison_file
from moa_graph.evals.plan import EvalPlan
from moa_graph.evals.report.page import write_report
from moa_graph.evals.report.style import (
    break_name,
    figure_style,
    format_dollars,
    line_style_of,
    new_figure,
    render_figure,
)

HEAD = '<th scope="row">'
PLAN = """
judge = "offline:overlap"
correlation = ["mixture"]
[systems]
first = "offline:lead"
second = "offline:bm25"
[systems.mixture]
layers = [["offline:lead", "offline:bm25", "offline:textrank"]]
aggregator = "offline:consensus"
references_in = "user"
[[variants]]
of = "mixture"
analyses = ["depth"]
[[benchmarks]]
name = "alpaca_eval"
data = "questions.jsonl"
limit = 8
[published]
mixture = "MoA-Lite"
[prices]
"offline:lead" = [1, 1]
[sizes]
"offline:lead" = 7
"""


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """A comparison by offline agents, in a folder whose name is markup."""
    folder = tmp_path_factory.mktemp("compared") / "<img src=x onerror=alert(1)>"
    folder.mkdir()
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    (folder / "questions.jsonl").write_text(lines)
    (folder / "plan.toml").write_text(PLAN)
    plan = EvalPlan.load(folder / "plan.toml")
    write_comparison_file(plan, folder / "out")
    with CallStore(folder / "out" / "ledger.sqlite") as ledger:
        for step in list_steps(plan, folder / "out"):
            done = asyncio.run(step.run(ledger))
            assert not done.failures
    return folder / "out"


@pytest.fixture(scope="module")
def page(out):
    return write_report(out, baselines="no table")


@pytest.fixture
def copy(out, tmp_path):
    return shutil.copytree(out, tmp_path / "copy")


def text_of(page):
    return page.read_text(encoding="utf-8")


def test_page_loads_nothing_and_runs_nothing(page):
    text = text_of(page)
    assert "default-src 'none'" in text
    assert "<script" not in text
    assert "<img" not in text
    assert not re.search(r'\b(src|href)="(?!#)', text.replace("xlink:href", "href"))


def test_title_says_what_is_compared(page):
    assert "<h1>3 systems on alpaca_eval</h1>" in text_of(page)


def test_note_of_a_tall_figure_stands_below_its_axis():
    with figure_style():
        figure, axes = new_figure(12)
        axes.set_xlabel("win rate, %")
        render_figure(figure, "tall", "Caption", "What has to be said. " * 20)
        figure.draw_without_rendering()
    (note,) = figure.texts
    assert note.get_window_extent().y1 <= axes.xaxis.label.get_window_extent().y0


@pytest.mark.parametrize(
    ("amount", "written"), [(0.00002, "0.00002"), (0.5, "0.5"), (3.0, "3"), (0.0, "0")]
)
def test_axes_write_dollars_without_an_exponent(amount, written):
    assert format_dollars(amount) == written


def test_long_names_have_several_lines():
    assert max(map(len, break_name("a-model-with-a-very-long-name-of-all-that").split("\n"))) <= 28


def test_ids_of_the_figures_do_not_collide(page):
    ids = Counter(re.findall(r'\bid="([^"]+)"', text_of(page)))
    assert ids
    assert [name for name, times in ids.items() if times > 1] == []


def test_labels_stand_at_the_verdict_and_the_benchmark_and_every_table_leads_to_them(page):
    text = text_of(page)
    whole, *parts = text.split("<h2")[1].split("<h3")
    # The judge, the budget, the worth, the analysis, the correlation.
    assert len(parts) == 5
    assert 'id="alpaca_eval-limits"' in whole
    for part in parts:
        assert 'href="#alpaca_eval-limits">Limits of these figures (4)</a>' in part
    verdict = text.split('class="lead"')[1].split("</header>")[0]
    for part in (verdict, whole):
        assert "offline:overlap is not a language model" in part
        assert "partial: 8 of 805 answered" in part
        assert "length-controlled win rate: unavailable, no table" in part


def test_length_controlled_is_never_another_number(page):
    rows = re.findall(f"<tr>{HEAD}(?:first|second|mixture)</th>.*?</tr>", text_of(page))[:3]
    assert len(rows) == 3
    assert all('<td class="r">unavailable</td>' in row for row in rows)


def test_published_figures_stand_beside_ours_and_are_called_published(page):
    text = text_of(page)
    (row,) = re.findall(rf"<tr>{HEAD}mixture</th><td[^>]*>[^<]*\[.*?</tr>", text)[:1]
    assert '<td class="r paper">59.3 ± 0.2</td>' in row
    assert "length-controlled %, published" in text


def test_unknown_cost_is_called_unknown(page):
    budget = text_of(page).split("What an instruction takes")[1].split("<h3")[0]
    cells = {
        name: re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row)
        for row, name in re.findall(rf"<tr>({HEAD}(first|second)</th>.*?)</tr>", budget)
    }
    assert cells["first"][3].startswith("$")
    assert float(cells["first"][3].removeprefix("$")) > 0


def test_everything_can_be_traced(page, out):
    sources = text_of(page).split("Where the figures are from")[-1]
    manifest = json.loads((out / "alpaca_eval" / "mixture" / "manifest.json").read_text())
    judging = json.loads((out / "alpaca_eval" / "mixture" / "judging.json").read_text())
    for known in (manifest["data"]["sha256"], manifest["date"], judging["date"]):
        assert known in sources
    assert "8 of 805 instructions, 0 failed" in sources
    assert "offline:consensus" in sources
    assert manifest["versions"]["langgraph"] in sources


def test_comparisons_say_what_is_inside_the_noise(page):
    verdicts = re.findall(r"<li>(.*?)</li>", text_of(page))
    assert any(re.search("within the noise|is better than", each) for each in verdicts)


def test_figures_are_files_too(page):
    names = {path.stem for path in page.parent.glob("*.png")}
    assert {"alpaca_eval-quality", "alpaca_eval-depth-mixture"} <= names
    for name in names:
        assert (page.parent / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (page.parent / f"{name}.svg").read_text().startswith("<?xml")


def test_figures_tell_their_values_to_those_who_cannot_see_them(page):
    told = r'aria-label="alpaca_eval: win rate, %, with 95 % intervals\. .*first: [\d.]+ \['
    assert re.search(told, text_of(page))
    assert re.search(told, (page.parent / "alpaca_eval-quality.svg").read_text())


def test_many_curves_share_looks():
    assert line_style_of(6) == line_style_of(0) != line_style_of(1)


def test_same_comparison_draws_the_same_figures(page, out, tmp_path):
    again = write_report(out, tmp_path, baselines="no table")
    for path in page.parent.glob("*.svg"):
        assert (again.parent / path.name).read_text() == path.read_text()


@pytest.mark.browser
def test_page_in_a_browser_has_no_complaints_and_no_overflow(page):
    with chromium() as browser:
        for scheme in ("light", "dark"):
            tab = browser.new_page(color_scheme=scheme, viewport={"width": 390, "height": 800})
            told = []
            tab.on("console", lambda message, told=told: told.append(message.text))
            tab.on("dialog", lambda dialog, told=told: told.append(dialog.message))
            tab.goto(page.as_uri())
            assert told == []
            assert tab.evaluate("document.documentElement.scrollWidth") == 390
            paper = tab.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (paper == "rgb(15, 17, 22)") == (scheme == "dark")
            assert find_violations(tab) == []


@pytest.mark.browser
def test_printed_page_cuts_no_table_off_and_leaves_configurations_out(page):
    content = 673  # pixels of A4 between margins of 16 mm
    with chromium() as browser:
        tab = browser.new_page(viewport={"width": content, "height": 1000})
        tab.goto(page.as_uri())
        tab.emulate_media(media="print")
        assert tab.evaluate("document.documentElement.scrollWidth") == content
        boxes = tab.evaluate(
            "[...document.querySelectorAll('.scroll')].map(e => getComputedStyle(e).overflowX)"
        )
        assert set(boxes) == {"visible"}
        ends = tab.evaluate(
            "[...document.querySelectorAll('td')].map(e => e.getBoundingClientRect().right)"
        )
        assert max(ends) <= content
        assert tab.locator("dl").last.is_visible()
        assert not tab.locator("pre").first.is_visible()


def test_folder_without_judgements_is_told(evaluate, tmp_path):
    told = evaluate("report", tmp_path)
    assert told.returncode == 1
    assert "nothing is judged in it" in told.stderr


def test_answers_that_changed_since_are_told(copy, evaluate):
    path = copy / "alpaca_eval" / "first" / "proposals.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[0]["turns"][0]["answer"] = "another"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = evaluate("report", copy)
    assert told.returncode == 1
    assert "the answers changed since they were judged" in told.stderr


def fail(folder):
    """Make a system one of which no judgement succeeded."""
    path = folder / "judgements.jsonl"
    rows = [json.loads(line) | {"error": "403"} for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = folder / "judging.json"
    known = json.loads(path.read_text())
    known["items"] |= {"judged": 0, "failed": 8}
    known["labels"].append("partial: 8 of 8 judgements are missing")
    path.write_text(json.dumps(known))


def test_system_without_a_score_is_told_and_the_others_are_reported(copy, evaluate):
    fail(copy / "alpaca_eval" / "second")
    text = text_of(write_report(copy, baselines="no table"))
    (row,) = re.findall(rf"<tr>{HEAD}second</th>(?:(?!</tr>).)*</tr>", text, re.DOTALL)
    cells = re.findall(r"<td[^>]*>(.*?)</td>", row)
    assert (cells[0], cells[-3:]) == ("no score", ["8 of 805", "0", "0 of 8"])
    assert re.search(rf"<tr>{HEAD}first</th><td[^>]*>\d[^<]*\[", text)
    assert "partial: 8 of 8 judgements are missing (second)" in text
    assert not re.search(r"<li>[^<]*second (is|and)|than second", text)
    scored = evaluate("score", copy)
    assert scored.returncode == 0, scored.stderr
    assert "second: no score: 8 of 805 answered, 8 of 8 judgements failed" in scored.stdout
    figures = {
        s["system"]: s["figures"]
        for s in json.loads(evaluate("score", copy, "--json").stdout)["systems"]
    }
    assert figures["second"] is None
    assert figures["first"]["win_rate"]["win_rate"] > 0


def test_benchmark_without_a_score_stops_no_other(copy):
    shutil.copytree(copy / "alpaca_eval", copy / "mt_bench")
    for folder in (copy / "mt_bench").iterdir():
        fail(folder)
    text = text_of(write_report(copy, baselines="no table"))
    assert text.count('<td class="r">no score</td>') == len(list((copy / "mt_bench").iterdir()))
    assert re.search(rf"<tr>{HEAD}first</th><td[^>]*>\d[^<]*\[", text)


def test_comparison_without_any_score_is_told(copy, evaluate):
    for folder in (copy / "alpaca_eval").iterdir():
        fail(folder)
    for command in ("report", "score"):
        told = evaluate(command, copy)
        assert told.returncode == 1
        assert "no judgement succeeded" in told.stderr


def test_systems_of_an_earlier_plan_are_left_out_and_named(copy):
    old = shutil.copytree(copy / "alpaca_eval" / "first", copy / "alpaca_eval" / "old")
    (old / "proposals.jsonl").write_text("")  # its answers changed: it could not be reported
    text = text_of(write_report(copy, baselines="no table"))
    assert "Left out, for the plan no longer names them: alpaca_eval/old." in text
    assert ">old</th>" not in text
