"""One file for each page; Streamlit runs them."""
