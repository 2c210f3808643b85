"""The app: its frame, its pages, and the page without a store.

``evalkit leaderboard`` starts it; by hand: ``streamlit run app.py -- --store FILE``.
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st
from evalkit_leaderboard import data

from evalkit.errors import StoreError

HERE = Path(__file__).parent
# The download in the toolbar of a table holds what is drawn, and formulas as they are: our buttons do not.
STYLE = """<style>
.stMainBlockContainer { padding-top: 4.5rem; }
[data-testid="stElementToolbar"] button[aria-label="Download as CSV"] { display: none; }
</style>"""


def main() -> None:
    """Draw the frame and the page that the address names."""
    st.set_page_config(page_title="evalkit leaderboard", page_icon=str(HERE / "mark.svg"), layout="wide")
    st.logo(str(HERE / "logo.svg"), size="large", icon_image=str(HERE / "logo.svg"))
    st.html(STYLE)
    pages = HERE / "views"  # not "pages": Streamlit would serve a deep link from there without this frame
    page = st.navigation(
        [
            st.Page(
                pages / "leaderboard.py", title="Leaderboard", icon=":material/leaderboard:", default=True
            ),
            st.Page(pages / "runs.py", title="Runs", icon=":material/table_rows:"),
            st.Page(pages / "rag.py", title="RAG", icon=":material/manage_search:"),
            st.Page(pages / "run.py", title="Run", icon=":material/science:"),
            st.Page(pages / "samples.py", title="Samples", icon=":material/list_alt:"),
        ],
        position="top",
    )
    try:
        data.store()
    except StoreError as error:
        st.title("No scores to show")
        st.text(str(error))
        st.write("A first run with no model server, from start to board:")
        st.code("evalkit run fictional_trials --model baseline:extract\nevalkit leaderboard", language=None)
        return
    page.run()


main()
