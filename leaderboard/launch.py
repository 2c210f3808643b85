"""Start the leaderboard: Streamlit with our theme and safe settings (one address, XSRF, no telemetry)."""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
from pathlib import Path
from typing import NoReturn

from evalkit.errors import UsageError

OPTIONS = {
    "server.enableXsrfProtection": "true",
    "server.enableCORS": "true",
    "server.fileWatcherType": "none",
    "browser.gatherUsageStats": "false",
    "client.showErrorDetails": "none",
    "client.toolbarMode": "minimal",
    "theme.baseRadius": "0.6rem",
    "theme.headingFontWeights": "[700, 650, 600]",
    "theme.headingFontSizes": '["2rem", "1.4rem", "1.15rem"]',
    "theme.light.primaryColor": "#0f766e",
    "theme.light.backgroundColor": "#ffffff",
    "theme.light.secondaryBackgroundColor": "#f1f6f5",
    "theme.light.textColor": "#12302d",
    "theme.light.linkColor": "#0f766e",
    "theme.light.borderColor": "#d5e2e0",
    "theme.light.sidebar.backgroundColor": "#f6faf9",
    "theme.dark.primaryColor": "#2dd4bf",
    "theme.dark.backgroundColor": "#0d1b1e",
    "theme.dark.secondaryBackgroundColor": "#15282c",
    "theme.dark.textColor": "#e4f0ee",
    "theme.dark.linkColor": "#5eead4",
    "theme.dark.borderColor": "#28424a",
    "theme.dark.sidebar.backgroundColor": "#0a1518",
}


def launch(store_url: str | None, port: int, host: str = "127.0.0.1", open_browser: bool = False) -> NoReturn:
    """Replace this process by the server of the board, until Ctrl-C. Raises ``UsageError``.

    ``store_url`` is the argument of ``open_store``; None: the default store.
    """
    if importlib.util.find_spec("streamlit") is None:
        raise UsageError("the leaderboard needs Streamlit: pip install 'evalkit[leaderboard]'")
    if not _free(host, port):
        other = next((p for p in range(port + 1, min(port + 100, 65536)) if _free(host, p)), None)
        hint = f"; a free port: --port {other}" if other else ""
        raise UsageError(f"port {port} on {host} is in use or not permitted{hint}")
    environment = dict(os.environ)  # passes the store's URL: all users can see a command line
    if store_url is not None:
        environment["EVALKIT_STORE"] = store_url
    shown = f"[{host}]" if ":" in host else host  # an IPv6 address
    print(f"Leaderboard: http://{shown}:{port} (Ctrl-C stops it)", file=sys.stderr, flush=True)
    line = command(port, host, open_browser)
    os.execve(line[0], line, environment)  # noqa: S606 (our own words)


def command(port: int, host: str = "127.0.0.1", open_browser: bool = False) -> list[str]:
    """Return the command that serves the board, with the store in ``EVALKIT_STORE``."""
    options = {
        "server.address": host,
        "server.port": str(port),
        "server.headless": str(not open_browser).lower(),
        **OPTIONS,
    }
    app = Path(__file__).parent / "app.py"
    return [sys.executable, "-m", "streamlit", "run", str(app), *(f"--{k}={v}" for k, v in options.items())]


def _free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
