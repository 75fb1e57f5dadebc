"""How the documentation is built: ``sphinx-build -W --keep-going -n -b html docs docs/_build/html``.

What the code, the configuration or a file of the repository says is not said again here: the reference comes from docstrings,
the pages on keys and records from `generated`, and three pages are the repository's README, CONTRIBUTING and CHANGELOG.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

from docutils.nodes import Element
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

import sparsednn.results.result
import sparsednn.results.trace

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path[:0] = [str(DOCS), str(ROOT)]
import generated  # noqa: E402 - beside this file

sparsednn.results.result.Trace = sparsednn.results.trace.Trace  # imported there for type checkers only

project = "sparsednn"
author = "the sparsednn authors"
release = version = sparsednn.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"sparsednn {release}"

myst_enable_extensions = ["substitution"]
myst_heading_anchors = 4  # as GitHub has them
myst_substitutions = generated.substitutions(ROOT / "conf")

default_role = "autolink"  # `name` is a link where it names something of the code, and emphasised otherwise
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autosummary_generate = False  # the extension is here for its role
numpydoc_show_class_members = False  # autodoc shows them
python_use_unqualified_type_names = True

_BUILTINS = "bool|bytes|dict|float|frozenset|int|list|None|object|range|set|str|tuple|type"
nitpick_ignore_regex = [
    # Names of Python and of other projects: their inventories would have to be downloaded, and the build needs no network
    (r"py:.*", r"(numpy|np|scipy|sp|pandas|pd|matplotlib|rich|hydra|omegaconf)\..*"),
    (
        r"py:.*",
        rf"(collections|dataclasses|enum|hashlib|os|pathlib|typing)\..*|\w+(\.\w+)*\.T|ABC|Any|Enum|Path|Protocol|\w+Error|{_BUILTINS}",
    ),
    (r"py:.*", r"NDArray|Postprocess"),  # names of types in signatures, as they are written
    (r"py:.*", r"sparsednn\.(\w+\.)*_\w+"),  # private type variables in signatures
]

FILES = {"readme": "README.md", "contributing": "CONTRIBUTING.md", "changelog": "CHANGELOG.md"}
"""Pages that are files of the repository."""


_LINK = re.compile(r"\[([^][]*)\]\((?![a-z]+:|#)([^)#]+)(#[^)]*)?\)")


def _read(app: Sphinx, name: str, source: list[str]) -> None:
    """Put the text of a file in its page's place; let all links that lead to such a file lead to its page."""
    page = place = app.env.doc2path(name).parent
    if name in FILES:
        path = ROOT / FILES[name]
        app.env.note_dependency(str(path))
        source[0], place = path.read_text(encoding="utf-8"), ROOT
    if app.env.doc2path(name).suffix == ".md":
        source[0] = _LINK.sub(lambda found: _link(found, place, page), source[0])


def _link(found: re.Match[str], place: Path, page: Path) -> str:
    """Return a link of a text in the folder `place` as a page in the folder `page` has it: to a page, or to a download."""
    text, target, anchor = found[1], (place / found[2]).resolve(), found[3] or ""
    if target.is_dir():
        return text  # there is nothing to show
    pages = {ROOT / file: DOCS / f"{name}.md" for name, file in FILES.items()}
    return f"[{text}]({os.path.relpath(pages.get(target, target), page)}{anchor})"


def _documented_elsewhere(app: Sphinx, env: BuildEnvironment, node: Element, contnode: Element) -> Element | None:
    """Resolve a name that a docstring takes from its module's imports; what has no entry of its own is no link.

    Only the default role is meant, which has made sure that the name can be imported from where it stands.
    """
    if (node.get("refdomain"), node.get("reftype")) != ("py", "obj"):
        return None
    found: Any = sys.modules.get(node.get("py:module"))
    for part in node["reftarget"].split("."):
        found = getattr(found, part, None)
    name = f"{getattr(found, '__module__', '')}.{getattr(found, '__qualname__', '')}"
    domain = env.domains["py"]
    if name not in domain.objects or name == node["reftarget"]:
        return contnode
    return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", name, node, contnode)


def _signature(
    app: Sphinx, what: str, name: str, found: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str, str | None] | None:
    """Show signatures as they are written: none for protocols, which have Python's own, and short types of arrays."""
    if signature is None:
        return None
    if getattr(found, "_is_protocol", False):
        return "", None
    array = r"~numpy\.ndarray\[tuple\[~typing\.Any, \.\.\.\], ~numpy\.dtype\[([~\w.]+)\]\]"
    texts = [re.sub(array, r"~numpy.typing.NDArray[\1]", text or "") for text in (signature, returns)]
    return texts[0].replace("<factory>", "..."), texts[1] or None


def setup(app: Sphinx) -> None:
    """Tell Sphinx what is done otherwise than usual."""
    app.connect("source-read", _read)
    app.connect("missing-reference", _documented_elsewhere)
    app.connect("autodoc-process-signature", _signature)
