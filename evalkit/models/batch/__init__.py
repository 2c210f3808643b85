"""Vendors' batch interfaces (``?batch=true``): requests go out in files, replies come back within a day.

``batched.py`` collects requests and hands out replies. ``files.py`` cuts requests into files, ``jobs.py``
submits files and waits for them, ``journal.py`` remembers the jobs on disk. One module for each vendor has
its wire format; ``http.py`` is what they share.
"""
