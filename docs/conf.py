"""The documentation as a site: ``make docs`` builds it into build/docs, strictly.

The source is the project's root, so that links between the pages there and those in docs/ work.
"""

from evalkit.util.version import VERSION

project = "evalkit"
release = version = VERSION
author = "the evalkit authors"

include_patterns = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/*.md"]
root_doc = "docs/index"
extensions = ["myst_parser"]
myst_heading_anchors = 4  # links to headings, as GitHub writes them
nitpicky = True
suppress_warnings = ["misc.highlighting_failure"]  # blocks that begin with the name of their file

html_theme = "furo"
html_title = f"evalkit {VERSION}"
html_copy_source = False
html_show_copyright = False
