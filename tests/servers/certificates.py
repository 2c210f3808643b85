"""A certificate authority for tests, made with the ``openssl`` command, and its certificates."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Authority:
    """A certificate authority; ``file`` is the certificate that clients must trust."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder, self.file = folder, folder / "authority.pem"
        _openssl(
            folder,
            "req",
            "-x509",
            *_KEY,
            "-keyout",
            "authority.key",
            "-out",
            "authority.pem",
            "-subj",
            "/CN=an authority of tests",
            "-days",
            "2",
            "-addext",
            "basicConstraints=critical,CA:TRUE",
        )

    def context(self, name: str = "localhost") -> ssl.SSLContext:
        """Return the TLS context of a server with this ``name``."""
        folder = self._folder
        (folder / "names").write_text(f"subjectAltName=DNS:{name}\n")
        _openssl(folder, "req", *_KEY, "-keyout", "server.key", "-out", "wish.csr", "-subj", f"/CN={name}")
        _openssl(
            folder,
            "x509",
            "-req",
            "-in",
            "wish.csr",
            "-CA",
            "authority.pem",
            "-CAkey",
            "authority.key",
            "-CAcreateserial",
            "-days",
            "2",
            "-extfile",
            "names",
            "-out",
            "server.pem",
        )
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(folder / "server.pem", folder / "server.key")
        return context


def _openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)
