"""Makes matplotlib's SVG fit into a page: ink and fonts from the page, names that cannot clash, nothing else."""

from __future__ import annotations

import html
import re

INK = "#010203"
"""The colour of text and axes while drawing; becomes `currentColor`, so that it follows the page's theme."""
FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'Noto Sans CJK SC', sans-serif"
_THEME = "<style>:root{color:#1c2024}@media (prefers-color-scheme:dark){:root{color:#e6e8ea}}</style>"


def inline(drawn: str, *, name: str, description: str) -> str:
    """The drawing as an element for a page: ids begin with `name`, no size of its own beyond its natural width."""
    body = drawn[drawn.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>\s*", "", body, flags=re.DOTALL)
    body = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>\s*", "", body, flags=re.DOTALL)
    body = re.sub(r"font-family: [^;\"]+", f"font-family: {FONTS}", body)
    body = re.sub(r"font: ([^;\"]*?[\d.]+px) [^;\"]+", rf"font: \1 {FONTS}", body)
    body = body.replace(INK, "currentColor")
    body = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', body)
    body = re.sub(r'xlink:href="#([^"]+)"', rf'href="#{name}-\1"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", body)
    # Blanks at line ends and between elements are a third of what matplotlib writes.
    body = re.sub(r">\s+<", "><", body)
    body = re.sub(r" ?\n", " ", body).strip()
    return re.sub(r"<svg [^>]*>", lambda opening: _opening(opening.group(), description), body, count=1)


def _opening(tag: str, description: str) -> str:
    box = re.search(r'viewBox="([^"]+)"', tag)
    view = box.group(1) if box else "0 0 680 400"
    width, height = view.split()[2:]
    label = html.escape(description, quote=True)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{view}" width="{width}" height="{height}" role="img" '
        f'aria-label="{label}" stroke-linejoin="round" stroke-linecap="butt">'
    )


def standalone(element: str) -> str:
    """The element as a file of its own, black on light and white on dark."""
    end = element.index(">") + 1
    return element[:end] + _THEME + element[end:] + "\n"
