"""A reader of rendered Markdown that rejects all HTML except the allowed tags and attributes."""

from html.parser import HTMLParser

TAGS = {
    *("p", "br", "hr", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "pre", "code"),
    *("div", "span", "table", "thead", "tbody", "tr", "th", "td", "strong", "em", "s", "a"),
    *("mark", "ins", "del"),
    *("math", "mrow", "mi", "mn", "mo", "mtext", "mspace", "mfrac", "msqrt", "mroot", "mstyle"),
    *("msub", "msup", "msubsup", "munder", "mover", "munderover", "mpadded", "mphantom"),
    *("mtable", "mtr", "mtd"),
}
ATTRIBUTES = {
    *("class", "dir", "tabindex", "role", "aria-label", "start", "href", "rel", "target", "title"),
    *("data-who", "data-note"),
    *("stretchy", "fence", "accent", "largeop", "separator", "displaystyle", "movablelimits"),
    *("minsize", "maxsize", "lspace", "rspace", "form", "scriptlevel", "linethickness"),
    *("width", "mathvariant"),
}
LONG = [f" m-over-{chars}" for chars in (30, 50, 80, 160)]
CLASSES = {
    *("code", "scroll", "math", "task", "left", "right", "center"),
    *("contains-task-list", "task-list-item"),
    *(f"formula{a}{b}" for a in ("", " display") for b in ("", *LONG)),
    *("m-aligned", "m-line", "m-box", "m-up", "m-down", "m-strike"),
    *("m-up m-down", "m-bold", "m-italic", "m-mono", "m-left", "m-right", "m-bar", "m-rule"),
    *("m-bar m-rule", "m-left m-bar", "m-left m-rule", "m-left m-bar m-rule", "m-right m-bar"),
    *("m-right m-rule", "m-right m-bar m-rule"),
}
VOID = {"br", "hr"}


class Reader(HTMLParser):
    """Reads HTML, and checks that nothing in it is of another kind."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.texts, self._open = [], [], []
        self.feed(html)
        self.close()
        assert not self._open, f"not closed: {self._open}"

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        assert tag in TAGS
        assert attributes.keys() <= ATTRIBUTES
        assert attributes.get("class", "code") in CLASSES
        if "href" in attributes:
            assert attributes["href"].lower().startswith(("http://", "https://", "mailto:"))
            assert attributes["rel"] == "noopener noreferrer"
        self.elements.append((tag, attributes))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def handle_comment(self, data):
        raise AssertionError(f"a comment: {data!r}")

    handle_decl = unknown_decl = handle_pi = handle_comment

    @property
    def text(self):
        return "".join(self.texts)

    def count(self, tag):
        return sum(name == tag for name, _ in self.elements)

    def links(self):
        return [attributes["href"] for tag, attributes in self.elements if tag == "a"]
