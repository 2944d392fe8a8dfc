"""Markdown extension of the site: a link to a file of the repository outside of docs/ becomes its path as code.

Readers of the repository can follow such a link. The site has no file at its target.
"""

import posixpath
from typing import Any
from xml.etree.ElementTree import Element

from markdown import Markdown
from markdown.extensions import Extension
from markdown.treeprocessors import Treeprocessor

UP = "../"


class RepositoryLinks(Extension):
    """Registers the processor."""

    def extendMarkdown(self, md: Markdown) -> None:
        """Run after the links are made."""
        md.treeprocessors.register(_Paths(md), "repository_links", 15)


class _Paths(Treeprocessor):
    """Replaces each link to a source file."""

    def run(self, root: Element) -> None:
        for link in root.iter("a"):
            target = link.get("href", "")
            name = target.removeprefix(UP).removeprefix(UP)
            if target.startswith(UP) and name.partition("/")[0] in SOURCES and posixpath.splitext(name)[1]:
                link.tag = "code"
                link.attrib.clear()


SOURCES = frozenset({"benchmarks", "deploy", "fetcher", "optimizer", "scripts", "tests", "tradeschool", "workers"})
"""Folders of the repository that are not part of the site."""


def makeExtension(**options: Any) -> RepositoryLinks:
    """Return the extension; Python-Markdown calls this function."""
    return RepositoryLinks(**options)
