"""How tests read a page."""

from html.parser import HTMLParser

import pytest

VOID = {"meta", "link", "img", "br", "input", "hr"}


class Page(HTMLParser):
    """Reads a page; notes what is not balanced, the sections, every reference, the visible text, and table rows."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.source = text
        self.open: list[str] = []
        self.tags: list[str] = []
        self.sections: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.cells: list[list[str]] = []
        self.text: dict[str, str] = {}
        self.visible = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append(tag)
        self.references += [values[name] or "" for name in ("src", "href", "xlink:href", "srcset") if name in values]
        if "id" in values:
            self.ids.append(values["id"] or "")
        if tag == "section":
            self.sections.append(values["id"] or "")
        if tag == "tr":
            self.cells.append([])
        if tag in ("td", "th"):
            self.cells[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.visible += data
        if "section" in self.open:
            self.text[self.sections[-1]] = self.text.get(self.sections[-1], "") + data
        if "td" in self.open or "th" in self.open:
            self.cells[-1][-1] += data

    def row(self, heading: str, section_of: str = "") -> list[str]:
        """Give the cells of the one row of this heading, or of the first that has `section_of` in it."""
        rows = [row[1:] for row in self.cells if row and row[0] == heading and section_of in "".join(row)]
        assert rows, f"no row {heading}"
        return rows[0]


@pytest.fixture(scope="session")
def read() -> type[Page]:
    """Call it with the text of a page."""
    return Page
