"""What models write, as HTML: how it is laid out, and what can never come of it."""

from time import thread_time

import pytest
from hypothesis import example, given
from markdown_reader import Reader
from markdown_texts import TEXTS
from proportion import MOST, growth

from moa_graph.markdown import (
    Mark,
    MarkdownDocument,
    render_blocks,
    render_claim,
    render_markdown,
)


def read(text):
    return Reader(render_markdown(text))


CODE = (
    '<div class="code" dir="ltr"><div><span>{}</span></div>'
    '<pre tabindex="0"><code>{}</code></pre></div>'
)

LAID_OUT = {
    "a heading is below those of the page": ("# a", '<h3 dir="auto">a</h3>'),
    "the deepest heading is the sixth": ("###### a", '<h6 dir="auto">a</h6>'),
    "lines of a paragraph stay lines": ("a\nb", '<p dir="auto">a<br>\nb</p>'),
    "carriage returns are no text": ("a\r\nb", '<p dir="auto">a<br>\nb</p>'),
    "a list begins at its first number": (
        "3. a\n4. b",
        '<ol start="3" dir="auto">\n<li>a</li>\n<li>b</li>\n</ol>',
    ),
    "a task has a sign that is read out": (
        "- [x] a",
        (
            '<ul class="contains-task-list" dir="auto">\n<li class="task-list-item">'
            '<span class="task" role="img" aria-label="done">\u2611</span> a</li>\n</ul>'
        ),
    ),
    "code has its language": ("```js\n*a*\n```", CODE.format("js", "*a*\n")),
    "code that is not over has come so far": ("~~~\na", CODE.format("", "a")),
    "a language is text": ("```<b>\na\n```", CODE.format("&lt;b&gt;", "a\n")),
    "emphasis": (
        "**a** *b* ~~c~~ `d`",
        '<p dir="auto"><strong>a</strong> <em>b</em> <s>c</s> <code>d</code></p>',
    ),
    "stars around spaces are text": ("2 * 3 * 4", '<p dir="auto">2 * 3 * 4</p>'),
    "markup is text": ("<b>a</b>", '<p dir="auto">&lt;b&gt;a&lt;/b&gt;</p>'),
    "a formula is set apart": (
        r"So \(a_1 * b\) and $x^2$.",
        (
            '<p dir="auto">So <span class="formula" dir="ltr"><math><mrow><msub><mi>a</mi>'
            "<mn>1</mn></msub><mo>*</mo><mi>b</mi></mrow></math></span> and "
            '<span class="formula" dir="ltr"><math><msup><mi>x</mi><mn>2</mn></msup></math></span>'
            ".</p>"
        ),
    ),
    "a formula may have lines of its own": (
        "\\[\n- a\n= b\n\\]",
        (
            '<div class="formula display" dir="ltr"><math displaystyle="true"><mrow>'
            "<mo>\u2212</mo><mi>a</mi><mo>=</mo><mi>b</mi></mrow></math></div>"
        ),
    ),
    "a formula that cannot be laid out stays as it was written": (
        "$\\foo{a}$",
        '<p dir="auto"><span class="math" dir="ltr">\\foo{a}</span></p>',
    ),
    "money is no formula": ("from $5 to $10", '<p dir="auto">from $5 to $10</p>'),
    "an escaped bracket is one": (r"so \[1\]", '<p dir="auto">so [1]</p>'),
    "what turns directions is left out": ("a\u202eb\u2066c", '<p dir="auto">abc</p>'),
    "half a character harms nobody": ("a\ud83d", '<p dir="auto">a?</p>'),
    "a definition of a reference stays text": ("[a]: b", '<p dir="auto">[a]: b</p>'),
}


@pytest.mark.parametrize("claim", LAID_OUT)
def test_layout(claim):
    text, html = LAID_OUT[claim]
    assert render_markdown(text) == html


def test_text_in_a_table_or_a_list_has_no_headings():
    assert render_claim("It is *so*.") == '<span dir="auto">It is <em>so</em>.</span>'
    assert render_claim("# In short") == '<span dir="auto">In short</span>'
    assert render_claim("## In short\n\nIt is.") == (
        '<p dir="auto">In short</p>\n<p dir="auto">It is.</p>'
    )


def test_table_scrolls_by_itself_and_has_no_style():
    table = read("| a | b |\n|---|--:|\n| 1 | x\\|y |\n| 2 |")
    assert table.elements[0] == (
        "div",
        {"class": "scroll", "tabindex": "0", "role": "group", "aria-label": "Table"},
    )
    assert table.count("th") == 2
    assert table.count("td") == 4
    assert ("td", {"class": "right"}) in table.elements
    assert "x|y" in table.text


def test_cells_that_rows_lack_are_made_up_to_a_number():
    row = "a|" * 64
    table = f"{row}\n{'-|' * 64}\n" + "|\n" * 1000
    html = read("\n\n".join([table] * 20))
    assert html.count("td") < 4000


@pytest.mark.parametrize(
    ("text", "links"),
    [
        ("[a](https://example.org/b)", ["https://example.org/b"]),
        ("[a](mailto:a@example.org)", ["mailto:a@example.org"]),
        ("<https://example.org>", ["https://example.org"]),
        ("see https://example.org/a_b_(c).", ["https://example.org/a_b_(c)"]),
        ("(or http://example.org/d, maybe)", ["http://example.org/d"]),
        ("(http://example.org/d).", ["http://example.org/d"]),
        ("\u898bhttps://example.org/\u3002", ["https://example.org/"]),
        ("`https://example.org` and https://", []),
        ("![a](https://example.org/a.png)", ["https://example.org/a.png"]),
        ("[![a](https://example.org/a.png)](https://example.org/)", ["https://example.org/"]),
        ("[<https://example.org/a> b](https://example.org/c)", None),
    ],
)
def test_links_lead_to_the_web_and_load_nothing(text, links):
    html = read(text)
    assert html.count("img") == 0
    assert links is None or html.links() == links
    depth = 0
    for part in render_markdown(text).split("<")[1:]:
        depth += part.startswith("a ") - part.startswith("/a>")
        assert 0 <= depth <= 1, "a link in a link"


@pytest.mark.parametrize(
    "address",
    [
        *("javascript:alert`1`", "JaVaScRiPt:alert(1)", "java\tscript:alert(1)", "vbscript:a"),
        *("data:text/html,a", "file:///etc/passwd", "//example.org", "/api/threads", "b", "#c"),
        *("&#106;avascript:alert(1)", "https:javascript", "https:/a", "\x01javascript:a", "blob:a"),
    ],
)
@pytest.mark.parametrize("form", ["[a]({})", "![a]({})", "<{}>", "[a](<{}>)"])
def test_link_to_anywhere_else_stays_text(address, form):
    assert read(form.format(address)).links() == []


ATTACKS = [
    "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>",
    '[a](https://example.org/"onmouseover="alert(1))',
    '[a](https://example.org/ "\' onmouseover=alert(1)")',
    '```" onload="alert(1)\na\n```',
    "```</code></pre><script>alert(1)</script>\na\n```",
    '| <img onerror=a> | " style="x |\n|---|:-:|\n| </td><script> | b |',
    "<!-- a --> <![CDATA[a]]> <?php a ?> <!DOCTYPE a>",
    '![" onerror="alert(1)](https://example.org/a.png)',
    "$<img src=x onerror=alert(1)>$ \\(<b>\\) $$<svg onload=alert(1)>$$",
    "https://example.org/\"onmouseover='alert(1)'",
    "<a href='javascript:alert(1)'>a</a> <svg/onload=alert(1)> <style>*{color:red}</style>",
    "[a]: javascript:alert(1)\n\n[a] [b][a]",
    "- [x] <input onfocus=alert(1) autofocus>",
    "&lt;script&gt; &#60;script&#62; &NotEqualTilde; &#0; &#x1F600;",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_attack_is_text(attack):
    html = Reader(render_markdown(attack))
    assert html.count("script") == 0


@given(TEXTS, TEXTS)
@example("<", '![a](https://example.org/ "b")')
def test_nothing_comes_of_a_text_but_what_is_allowed(text, other):
    for block in render_blocks(text):
        Reader(block)
    document = MarkdownDocument(text)
    length = len(document.text)
    marks = [
        Mark(0, length // 3, who=other),
        Mark(length // 3, length // 3, "del", insertion=other),
        Mark(length // 2, length, "ins", note=other),
    ]
    for block in document.render(marks):
        Reader(block)


@given(TEXTS)
def test_each_block_is_one_element_and_marks_change_no_text(text):
    document = MarkdownDocument(text)
    for plain, marked in zip(
        document.render(), document.render([Mark(0, len(document.text))]), strict=True
    ):
        html = Reader(plain)
        assert plain.startswith("<")
        assert html.text == Reader(marked).text


def test_marks_stand_in_what_a_reader_sees():
    document = MarkdownDocument("One **two** three\n\n- four `five`\n\n```\nsix\n```")
    assert document.text.split() == ["One", "two", "three", "four", "five", "six"]
    start, end = document.text.index("two"), document.text.index("five") + len("five")
    html = "".join(document.render([Mark(start, end, who="a b")]))
    assert (
        '<strong><mark data-who="a b">two</mark></strong><mark data-who="a b"> three</mark>' in html
    )
    assert '<mark data-who="a b">four </mark><code><mark data-who="a b">five</mark></code>' in html


def test_what_was_left_out_stands_where_it_was():
    document = MarkdownDocument("One three")
    marks = [Mark(4, 4, "del", insertion="two "), Mark(9, 9, "del", insertion=" four")]
    assert document.render(marks) == ['<p dir="auto">One <del>two </del>three<del> four</del></p>']


def test_blocks_in_blocks_are_laid_out_to_a_depth_and_text_from_there_on():
    quotes = read(f"{'>' * 40} a")
    assert quotes.count("blockquote") == 16
    assert f"{'>' * 24} a" in quotes.text
    items = read("\n".join(f"{'  ' * depth}- a{depth}" for depth in range(20)))
    assert items.count("ul") == 8
    assert "a19" in items.text


@pytest.mark.parametrize("sign", ["- ", "1. ", "> "])
def test_what_follows_blocks_that_are_too_deep_is_laid_out(sign):
    width = len(sign)
    deep = "\n".join(f"{' ' * width * depth}{sign}a{depth}" for depth in range(20))
    behind = f"{' ' * width}{sign}**b**\n{sign}**c**\n\n# d\n\n**e**" if sign != "> " else "\n\n# d"
    html = read(f"{deep}\n{behind}")
    assert html.count("h3") == 1
    assert html.count("strong") == (3 if sign != "> " else 0)


def test_emphasis_in_emphasis_is_laid_out_to_a_depth():
    html = read("*a **b " * 50 + "c" + "** d*" * 50)
    assert 0 < html.count("em") + html.count("strong") <= 100
    depth = most = 0
    for part in render_markdown("*a **b " * 50 + "c" + "** d*" * 50).split("<"):
        depth += part.startswith(("em>", "strong>")) - part.startswith(("/em>", "/strong>"))
        most = max(most, depth)
    assert most == 8


@pytest.mark.parametrize(
    "unit",
    [
        "".join(f"{'  ' * depth}- a\n" for depth in range(20)),
        *("$a ", "$$a\n# b\n", "\\[a\n# b\n", "a|b\n-|-\n# c\n", "~~a ", "[a](https://a.b) "),
        "a|" * 50 + "\n" + "-|" * 50 + "\n" + "|\n" * 40 + "\n",
    ],
)
def test_time_is_in_proportion_to_the_text(unit):
    def seconds(size):
        text, began = unit * (size // len(unit)), thread_time()
        render_blocks(text)
        return thread_time() - began

    times, _ = growth(seconds, 2000, 20_000, 0.001)
    assert times < MOST


def test_text_that_is_too_long_is_laid_out_to_a_length(monkeypatch):
    monkeypatch.setattr("moa_graph.markdown.document.MAX_LAID_OUT_CHARS", 6)
    assert render_blocks("a\n\nb\n\n<c>") == [
        '<p dir="auto">a</p>',
        '<p dir="auto">b</p>',
        '<pre tabindex="0">&lt;c&gt;</pre>',
    ]
