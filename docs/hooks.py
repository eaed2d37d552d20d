"""Adapts the pages to the site: links out of docs/, and examples of docstrings."""

import re
from typing import Any

import griffe

OUTSIDE = re.compile(r"\[([^]]+)\]\(\.\./([^)#]+)(?:#[^)]*)?\)")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replaces a link to a file outside of docs/, which the site has not, by its path."""
    return OUTSIDE.sub(r"\1 (`\2` in the repository)", markdown)


class Examples(griffe.Extension):
    """Names the section `Example:` of a docstring as the parser expects it."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Renames the section of one object."""
        if obj.docstring is not None:
            text = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.M)
            obj.docstring.value = text
