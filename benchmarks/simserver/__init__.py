"""A simulated model server: its arithmetic in virtual time (``server.py``), and behind real HTTP (``http.py``)."""
