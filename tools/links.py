"""A hook of mkdocs: what pages link to outside of docs/ comes into the site, READMEs as pages and the rest as files.

Links in the repository stay such that they work where it is browsed; only the site has them turned.
"""

from __future__ import annotations

import re
from pathlib import Path
from posixpath import dirname, normpath, relpath
from typing import Any

ROOT = Path(__file__).parents[1]
PAGES = {f"{name}.md": f"{name.lower()}.md" for name in ("CONTRIBUTING", "CHANGELOG", "SECURITY")} | {
    path.relative_to(ROOT).as_posix(): f"packages/{path.parent.name}.md"
    for path in sorted((ROOT / "plugins").glob("*/README.md"))
}
"""Pages that stand elsewhere in the repository, with their places in the site."""

LINK = re.compile(r"(?<=\]\()[^)\s:#]+(?=[)#])|(?<=href=\")[^\":#]+(?=[\"#])")
FENCED = re.compile(r"^( *```.*?^ *```)", re.MULTILINE | re.DOTALL)


def place(path: str) -> str:
    """Where a file of the repository is in the site."""
    if (ROOT / path / "README.md").is_file():
        path = normpath(f"{path}/README.md")
    if path == "README.md":
        return "index.md"
    return PAGES.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else f"files/{path}")


def turned(markdown: str, own: str) -> tuple[str, set[str]]:
    """The text of the page that stands at ``own`` in the repository with its links as the site has them, and the files
    of the repository that they go to."""
    linked: set[str] = set()

    def turn(link: re.Match[str]) -> str:
        path = normpath(f"{dirname(own)}/{link[0]}".lstrip("/"))
        linked.add(path)
        return relpath(place(path), dirname(place(own)) or ".")

    pieces = FENCED.split(markdown)
    return "".join(piece if at % 2 else LINK.sub(turn, piece) for at, piece in enumerate(pieces)), linked


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages from elsewhere, and the files that any page links to."""
    from mkdocs.structure.files import File  # tests of links need no mkdocs

    texts = {
        f"docs/{file.src_uri}": file.content_string for file in files.documentation_pages() if not file.generated_by
    }
    for path, uri in PAGES.items():
        texts[path] = (ROOT / path).read_text(encoding="utf-8")
        files.append(File.generated(config, uri, content=turned(texts[path], path)[0]))
    linked = set().union(*(turned(text, path)[1] for path, text in texts.items()))
    for path in sorted(linked):
        if place(path).startswith("files/") and (ROOT / path).is_file():
            files.append(File.generated(config, place(path), abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Turns the links of the pages in docs/."""
    return markdown if page.file.generated_by else turned(markdown, f"docs/{page.file.src_uri}")[0]
