"""Vendors' batch interfaces (``?batch=true``): requests go out in files, replies come back within a day.

``batched.py`` collects requests and waits for jobs, ``journal.py`` remembers the jobs on disk, ``files.py``
cuts requests into files. One module for each vendor has its wire format; ``http.py`` is what they share.
"""
