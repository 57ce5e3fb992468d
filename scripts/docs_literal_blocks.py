"""A hook of mkdocs: docstrings mark a block that follows with a double colon, of which a page shows one, or none."""

from __future__ import annotations

__all__ = ["on_page_content"]


def on_page_content(html: str, **_: object) -> str:
    """Take the mark of a literal block away."""
    return html.replace("<p>::</p>", "").replace("::</p>", ":</p>")
