"""What the pages link to and name is there: files, headings, places in the code."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [*sorted(ROOT.glob("*.md")), *DOCS, ROOT / "tests/benchmarks/README.md"]
INLINE = re.compile(r"`[^`\n]*`")
FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
PLACE = re.compile(r"`(\w+)` in `([\w/]+\.py)`")


def name_of(page):
    return page.relative_to(ROOT).as_posix()


def links(page):
    """What a page links to, as a path and an anchor; addresses of the web are left out."""
    targets = LINK.findall(INLINE.sub("", FENCE.sub("", page.read_text(encoding="utf-8"))))
    for target in targets:
        if not re.match(r"[a-z]+:", target):
            path, _, anchor = target.partition("#")
            yield (page.parent / path).resolve() if path else page, anchor


def anchors(page):
    """The anchors of the headings, as GitHub names them."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    for path, anchor in links(page):
        assert path.is_relative_to(ROOT)
        assert path.exists(), path
        assert not anchor or anchor in anchors(path), f"{path}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_headings_of_a_page_have_anchors_of_their_own(page):
    found = list(anchors(page))
    if page.name != "CHANGELOG.md":  # its headings are those of Keep a Changelog
        assert len(found) == len(set(found))


@pytest.mark.parametrize("contents", ["README.md", "docs/index.md"])
def test_all_pages_are_in_the_contents(contents):
    listed = {path for path, _ in links(ROOT / contents)}
    assert {*DOCS, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"} <= {*listed, ROOT / contents}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_named_programs_and_files_exist(page):
    prose = " ".join(INLINE.findall(FENCE.sub("", page.read_text(encoding="utf-8"))))
    for path in re.findall(r"(?<![\w./])(?:tests|examples|\.ci)/[\w./-]+", prose):
        assert (ROOT / path).exists(), path


def test_places_in_the_code_are_where_a_page_says():
    page = (ROOT / "docs" / "contributing.md").read_text(encoding="utf-8")
    path = page.partition("## From a question to the answer")[2]
    files = re.findall(r"`([\w/]+\.py)`", path)
    codes = {file: (ROOT / "moa_graph" / file).read_text(encoding="utf-8") for file in files}
    places = PLACE.findall(path)
    assert places
    for name, file in places:
        assert re.search(rf"^(def|class) {name}\b", codes[file], re.MULTILINE), f"{name} in {file}"
