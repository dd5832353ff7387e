"""How the manual is built: ``make docs`` leaves the pages in docs/build."""

import re
from importlib import import_module
from importlib.metadata import version as installed
from pathlib import Path

from docutils import nodes
from latex2mathml.converter import convert
from numpy.typing import ArrayLike
from sphinx.util.nodes import make_refnode
from sphinx.util.typing import stringify_annotation

project = "thalweg"
author = "The thalweg authors"
version = release = installed("thalweg")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["build"]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_class_signature = "separated"
napoleon_google_docstring = True
napoleon_use_ivar = True
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = "thalweg"
html_show_copyright = False
html_math_renderer = "mathml"  # formulas are part of the pages, which need no network then
html_static_path = ["static"]
html_css_files = ["manual.css"]


def escape_bars(app, what, name, obj, options, lines: list[str]) -> None:
    """Absolute values are written with bars, which reStructuredText would take for substitutions."""
    for i, line in enumerate(lines):
        parts = re.split(r"(``.*?``)", line)
        lines[i] = "".join(part if part.startswith("``") else part.replace("|", "\\|") for part in parts)


def leave_out_torchs(app, what, name, obj, options, lines: list[str]) -> None:
    """What every module of torch inherits says nothing of ours."""
    if lines and lines[0].startswith(("Initialize internal Module state", "Define the computation performed at every call")):
        lines.clear()


def name_array_like(app, what, name, obj, options, signature, returned):
    """The many types that numpy makes an array of go by their one name."""
    named = [text and text.replace(stringify_annotation(ArrayLike, "smart"), "ArrayLike") for text in (signature, returned)]
    return tuple(named)


def mathml(node, display: str = "inline") -> str:
    """A formula; norms with exponents have their bars at the height of the line."""
    return convert(node.astext(), display=display).replace("<mo>&#x02016;", '<mo stretchy="false">&#x02016;')


def inline_formula(translator, node) -> None:
    translator.body.append(mathml(node))
    raise nodes.SkipNode


def displayed_formula(translator, node) -> None:
    translator.body.append(translator.starttag(node, "div", CLASS="math") + mathml(node, "block") + "</div>")
    raise nodes.SkipNode


def link_by_last_name(app, env, node, shown):
    """A name in a docstring stands without its module, which is another one than the public name's: it leads to the one that ends in it."""
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    for end in (target, target.rpartition(".")[2]):
        named = {name: entry for name, entry in env.get_domain("py").objects.items() if f".{name}".endswith(f".{end}")}
        if named:
            break
    places = {(entry.docname, entry.node_id) for entry in named.values() if not entry.aliased}
    if len(places) != 1:
        return None
    ((page, anchor),) = places
    return make_refnode(app.builder, node["refdoc"], page, anchor, shown, target)


def leave_to_subpackages(app, what, name, obj, skip, options):
    """Names that a package takes over from its subpackages are described on the pages of those."""
    page = app.env.docname.rpartition("/")[2]
    packages = [path.stem.replace("_", ".") for path in (Path(__file__).parent / "reference").glob(f"{page}_*.md")]
    modules = [import_module(f"thalweg.{package}") for package in packages if what == "module"]
    return True if any(name in module.__all__ and getattr(module, name) is obj for module in modules) else None


def setup(app) -> None:
    app.add_html_math_renderer("mathml", inline_renderers=(inline_formula, None), block_renderers=(displayed_formula, None))
    app.connect("autodoc-process-docstring", escape_bars)
    app.connect("autodoc-process-docstring", leave_out_torchs)
    app.connect("autodoc-process-signature", name_array_like)
    app.connect("autodoc-skip-member", leave_to_subpackages)
    app.connect("missing-reference", link_by_last_name)
