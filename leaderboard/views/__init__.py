"""The pages, one file each, which Streamlit runs."""
