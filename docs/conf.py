"""How Sphinx builds these pages."""

from __future__ import annotations

import contextlib
import io
from importlib import metadata
from typing import TYPE_CHECKING

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from prunepack._cli import main

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "prunepack"
author = "the prunepack developers"
release = metadata.version("prunepack")

extensions = ["myst_parser", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.autosummary"]
nitpicky = True
# Parameters that are attributes too, and explained where they are parameters.
nitpick_ignore = {
    ("py:obj", name) for name in ("scope", "normalize", "rules", "otherwise", "regex")
}
# Torch's names are found only where torch is installed, and its pages are not fetched.
nitpick_ignore_regex = [("py:.*", r"torch\..*")]
default_role = "autolink"  # a name that can be imported is a link, any other is set in italics
highlight_language = "text"
myst_heading_anchors = 3

# The docstrings say the types in words; annotations would say them a second time.
autodoc_typehints = "none"
add_module_names = False
autodoc_member_order = "bysource"
autodoc_mock_imports = ["torch"]
autosummary_generate = False
numpydoc_show_class_members = False

html_theme = "furo"
html_title = f"prunepack {release}"
html_static_path = ["_static"]
html_css_files = ["style.css"]


def _in_one_colour(colour: str) -> dict[str, str]:
    return {f"color-{part}": colour for part in ("brand-primary", "brand-content", "api-name")}


html_theme_options = {  # the colours of the page that prunepack report writes
    "light_css_variables": _in_one_colour("#2f6fdb"),
    "dark_css_variables": _in_one_colour("#6ea4ff"),
}


class CommandHelp(SphinxDirective):
    """``.. command-help:: prune`` shows what ``prunepack prune --help`` prints."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Run the command."""
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
            main([*self.arguments, "--help"])
        return [nodes.literal_block(shown.getvalue(), shown.getvalue(), language="text")]


def setup(app: Sphinx) -> None:
    """Make the directive known."""
    app.add_directive("command-help", CommandHelp)
