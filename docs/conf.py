"""The documentation as a site: ``make docs`` builds the pages beside this file into build/docs, strictly."""

from evalkit.util.version import VERSION

project = "evalkit"
release = version = VERSION
author = "the evalkit authors"

extensions = ["myst_parser"]
myst_heading_anchors = 4  # links to headings, as GitHub writes them
nitpicky = True
suppress_warnings = ["misc.highlighting_failure"]  # blocks that begin with the name of their file

html_theme = "furo"
html_title = f"evalkit {VERSION}"
html_copy_source = False
html_show_copyright = False
