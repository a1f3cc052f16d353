"""Mathematics in Markdown from models: rendered formulas, unconverted TeX, refused markup."""

from time import thread_time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_reader import Reader
from proportion import MOST, growth

from moa_graph.markdown import Mark, MarkdownDocument, StreamedMarkdown, render_markdown
from moa_graph.markdown.mathml import MAX_TEX_CHARS, tex_to_mathml


def elements(tex):
    return [tag for tag, _ in Reader(lay_out(tex)).elements]


def lay_out(tex):
    html = tex_to_mathml(tex, is_display=True)
    assert html, "it stays text"
    return html


LAID_OUT = {
    "fractions": (r"x = \frac{-b \pm \sqrt{b^2 - 4ac}}{2a}", "mfrac msqrt msup"),
    "short fractions": (r"\frac12 + \dfrac{1}{2} + \tfrac{1}{3}", "mfrac"),
    "sums": (r"\sum_{n=1}^{\infty} \frac{1}{n^2} = \frac{\pi^2}{6}", "munderover"),
    "sums in a fraction": (r"\frac{\sum_{i=1}^n x_i}{n}", "munderover"),
    "integrals": (r"\int_0^\infty e^{-x^2}\,dx = \frac{\sqrt{\pi}}{2}", "msubsup mspace"),
    "limits": (r"\lim_{x \to 0} \frac{\sin x}{x} = 1", "munder"),
    "matrices": (r"\begin{pmatrix} a & b \\ c & d \end{pmatrix}", "mtable mtr mtd"),
    "cases": (r"|x| = \begin{cases} x & \text{if } x \ge 0 \\ -x & \text{else} \end{cases}", "mtd"),
    "aligned lines": (r"\begin{aligned} x + y &= 5 \\[4pt] 2x - y &= 1 \end{aligned}", "mtable"),
    "numbered lines": (r"\begin{align} a &= b \label{one} \\ &= c \nonumber \end{align}", "mtable"),
    "pairs of columns": (r"\begin{alignedat}{2} a &= b &\quad c &= d \end{alignedat}", "mtable"),
    "gathered lines": (r"\begin{gathered} a \\ b \end{gathered}", "mtable"),
    "lines without an environment": (r"a &= b \\ &= c", "mtable"),
    "an equation": (r"\begin{equation} E = mc^2 \end{equation}", "msup"),
    "boxes": (r"\boxed{\frac{3}{4}}", "mfrac"),
    "strokes": (r"\require{cancel} \cancel{x} + \xcancel{y} + \sout{z}", "mrow"),
    "units": (r"9.81\ \text{m/s}^2 = 9.81\,\mathrm{m\,s^{-2}}", "mtext msup"),
    "text": (r"\text{cost} = \$5 + 50\%, \quad \textbf{all}", "mtext mspace"),
    "roots": (r"\sqrt[3]{27} = 3", "mroot"),
    "delimiters": (r"\left\{ \frac{1}{2} \middle| x \right.", "mfrac mo"),
    "binomials": (r"\binom{n}{k} = {n \choose k}", "mfrac"),
    "sets": (r"x \in \mathbb{R}^n \setminus \emptyset", "msup"),
    "letters": (r"\mathbf{AB} \mathcal{L} \mathfrak{g} \boldsymbol{\theta} \bm{x}", "mi"),
    "accents": (r"\vec{v} \hat{n} \bar{x} \tilde{y} \dot{z} \overline{AB} \underline{x}", "mover"),
    "braces": (r"\underbrace{a + b}_{n}", "munder"),
    "functions": (r"\operatorname{lcm}(a, b) = \log_2 n \cdot \gcd(a, b)", "msub"),
    "operators": (r"\arg\max_x f = \operatorname*{argmax}_x f", "munder"),
    "modulo": (r"x \equiv 3 \pmod{7}", "mo"),
    "logic": (r"A \implies B \iff \neg C \land \forall x", "mo"),
    "tables": (
        r"\left[\begin{array}{cc|c} 1 & 2 & 3 \\ \hline 4 & 5 & 6 \end{array}\right]",
        "mtd",
    ),
    "thousands": (r"100{,}000", "mn"),
    "stacks": (r"\sum_{\substack{i < j \\ j < k}} a_{ij} \stackrel{a}{=} b", "munder mtable"),
    "other scripts": (r"\text{面积} = π r²", "mtext"),
}


@pytest.mark.parametrize("name", LAID_OUT)
def test_formula_of_usual_answers_is_laid_out(name):
    tex, wanted = LAID_OUT[name]
    assert set(wanted.split()) <= set(elements(tex))


@pytest.mark.parametrize(
    ("tex", "written"),
    [
        (r"\mathbb{RP}", "<mi>\u211d</mi><mi>\u2119</mi>"),
        (r"\mathrm{kg}", "<mi>kg</mi>"),
        (r"2\sin x", '<mn>2</mn><mspace width="0.167em"></mspace><mi>sin</mi>'),
        (r"A \implies B", "<mo>\u27f9</mo>"),
        (r"\boxed{4}", '<mrow class="m-box"><mn>4</mn></mrow>'),
        (r"\text{50\%}", "<mtext>50%</mtext>"),
        (r"\hspace{900cm}", '<mspace width="4em">'),
        (r"\color{red}{x}", "<mi>x</mi>"),
        (r"\begin{array}{r|l} a & b \end{array}", '<mtd class="m-right m-bar"><mi>a</mi></mtd>'),
    ],
)
def test_what_browsers_do_not_know_is_written_so_that_they_do(tex, written):
    assert written in lay_out(tex)


REFUSED = [
    *(r"\foo{a}", r"\SI{5}{m}", r"\frac{a}", r"{a", r"a}", r"\left( a", r"\right)", r"a^", "a & b"),
    *(r"\begin{matrix} a", r"\newcommand{\a}{\a\a}\a", r"\def\a{b}\a", r"\unicode{x202e}"),
    *(r"\href{javascript:alert(1)}{a}", r"\style{color:red}{a}", r"\class{a}{b}", r"\verb|a|"),
    *(r"\includegraphics{https://example.org/a.png}", r"\url{https://example.org}", r"\input{a}"),
    *("", "x" * (MAX_TEX_CHARS + 1), r"\frac{1}{" * 100 + "}" * 100),
]


@pytest.mark.parametrize("tex", REFUSED)
def test_formula_that_cannot_be_laid_out_stays_tex(tex):
    assert tex_to_mathml(tex, is_display=True) is None


ATTACKS = [
    *(r"\text{<img src=x onerror=alert(1)>}", r"\mbox{</math><script>alert(1)</script>}", "<b>"),
    *(r"\text{&#x3c;script&#x3e;}", r"\operatorname{<svg onload=alert(1)>}", r"\textcolor{red}{a}"),
    *(r"\colorbox{a' onclick='b}{c}", r'\textcolor{a" onclick="b}{c}', r"\tag{<b>}"),
    *(r'\hspace{1em" onclick="a}', r'\rule{1em"onclick="a}{1em}', r"\mspace{url(a)}"),
    *(r"\genfrac(){1em;a}{0}{a}{b}", r'\raise{1em"a="}{b}', r"\begin{array}{c' d} a \end{array}"),
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_comes_of_an_attack_but_a_formula_or_text(attack):
    html = render_markdown(f"\\[{attack}\\]")
    assert not {"script", "img", "svg", "b"} & {tag for tag, _ in Reader(html).elements}


WORDS = [
    *("a", "1", "x", " ", "{", "}", "^", "_", "&", "\\\\", "'", "|", "(", "]", "[", "<", '"', "$"),
    *(r"\frac", r"\sqrt", r"\left(", r"\right)", r"\begin{matrix}", r"\end{matrix}", r"\text{"),
    *(r"\sum", r"\hat", r"\mathbf", r"\not", r"\over", r"\boxed", r"\color{", r"\hspace", "2em"),
    *(r"\limits", r"\binom", r"\mathop", r"\rule", r"\begin{cases}", r"\end{cases}", r"\tag{"),
    *(
        r"\underset",
        r"\overline",
        r"\skew",
        r"\sideset",
        r"\genfrac",
        r"\href{",
        "&#x3c;",
        "\u202e",
    ),
]


@given(st.lists(st.sampled_from(WORDS), max_size=30).map("".join))
def test_whatever_stands_in_a_formula_becomes_allowed_elements_or_stays_text(tex):
    html = tex_to_mathml(tex, is_display=False)
    if html is not None:
        assert "\u202e" not in Reader(html).text


LONG = {
    "letters": "x+",
    "indices": "x_1^2 ",
    "texts": r"\text{a}",
    "limits": r"\sum\limits_a^b",
    "cells": r"a & b \\ ",
    "accents": r"\hat{x}",
    "opened": r"\left(",
    "braces": "{",
    "nested": r"\frac{1}{",
    "stacked": r"\sqrt",
    "primes": "'",
    "macros": r"\newcommand{\a}{x}\a",
}


@pytest.mark.parametrize("name", LONG)
def test_time_is_in_proportion_to_a_formula_and_to_their_number(name):
    unit = LONG[name]

    def seconds(size):
        formulas = [
            unit * (min(size, 1000) // len(unit)) + f"+{at}" for at in range(size // 1000 or 1)
        ]
        began = thread_time()
        for tex in formulas:
            tex_to_mathml(tex, is_display=True)
        return thread_time() - began

    times, _ = growth(seconds, 300, 3000, 0.001)
    assert times < MOST


PROSE = [
    *("It costs $5 and $7.", "from $5 to $10", "$5 or 6$ a piece", "$5, then 7$ more"),
    *("USD$5 and $HOME/$USER", "$A and $B", "$AAPL, $MSFT", 'in {"a": "$b", "c": "$d"}'),
    *('"$a", "b$"', "$5/month vs. 10$/month", "echo $PATH:$HOME", "it is 5$ or 6$", "costs $5-$10"),
    *("a $ b $ c", "$$", "$ $"),
]


@pytest.mark.parametrize("text", PROSE)
def test_money_and_variables_are_no_formulas(text):
    html = Reader(render_markdown(text))
    assert html.count("math") == 0
    assert html.text.strip() == text


@pytest.mark.parametrize("code", ["`$x$`", "`\\(x\\)`", "```\n$$x$$\n```", "    $x$"])
def test_code_is_no_formula(code):
    assert Reader(render_markdown(code)).count("math") == 0


@pytest.mark.parametrize("name", ["align*", "equation", "gather"])
def test_environment_by_itself_is_a_formula(name):
    html = render_markdown(f"so\n\\begin{{{name}}}\na = b\n\\end{{{name}}}\nthen")
    assert '<div class="formula display"' in html
    assert "begin" not in html


@pytest.mark.parametrize("name", ["itemize", "document", "align}{b"])
def test_environment_of_text_is_no_formula(name):
    text = f"\\begin{{{name}}} a \\end{{{name}}}"
    assert Reader(render_markdown(text)).count("math") == 0


def test_display_formula_in_a_paragraph_stands_alone():
    html = render_markdown("so\n\\[\nx = 1\n\\]\nand $$y$$ too")
    assert html.count('class="formula display"') == 2


@pytest.mark.parametrize(
    ("tex", "scrolls"), [("x = 1", False), (r"a + b + \qquad " * 5 + "c", True)]
)
def test_formula_that_may_be_wide_can_be_focused_and_scrolled(tex, scrolls):
    attributes = dict(Reader(render_markdown(f"${tex}$")).elements)["span"]
    assert ("tabindex" in attributes) == scrolls
    assert attributes.get("role") == ("group" if scrolls else None)


def test_formula_is_marked_as_a_whole():
    document = MarkdownDocument(r"So $\frac{a}{b}$ holds.")
    start = document.text.index("frac")
    (html,) = document.render([Mark(start, start + 4, who="1", note="1")])
    assert '<mark data-who="1" data-note="1"><math><mfrac>' in html
    assert "</mfrac></math></mark></span> holds." in html


def test_what_was_left_out_of_a_formula_stands_before_it():
    document = MarkdownDocument(r"$\frac{a}{b}$")
    marks = [Mark(5, 5, "del", insertion=r"\frac{c} "), Mark(6, 10, "ins")]
    (html,) = document.render(marks)
    assert r"<del>\frac{c} </del><ins><math><mfrac>" in html


def test_formula_that_was_left_out_is_laid_out():
    document = MarkdownDocument("so.")
    mark = Mark(0, 0, "del", insertion=r"\frac{a}{b}", is_formula=True)
    assert "<del><span" in document.render([mark])[0]
    assert "<mfrac>" in document.render([mark])[0]


def test_formula_comes_as_text_and_is_laid_out_once_it_is_whole():
    streamed, text = StreamedMarkdown(10**6), "Then:\n\n\\[\nx\n=\n- \\frac{a}{b}\n\\]\n\nDone.\n"
    for length in range(1, len(text) + 1):
        streamed.update(text[:length])
        tags = {tag for html in streamed.blocks for tag, _ in Reader(html).elements}
        assert not tags & {"h3", "h4", "ul"}, "a formula is taken for something else"
    assert '<div class="formula display"' in streamed.blocks[1]
