"""Start the leaderboard: Streamlit with our theme and safe settings (one address, XSRF, no telemetry)."""

from __future__ import annotations

import importlib.util
import os
import re
import socket
import sys
from collections.abc import Sequence
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


def launch(
    store_url: str | None,
    port: int,
    host: str = "127.0.0.1",
    open_browser: bool = False,
    origins: Sequence[str] = (),
) -> NoReturn:
    """Replace this process by the server of the board, until Ctrl-C. Raises ``UsageError``.

    ``store_url`` is the argument of ``open_store``; None: the default store. ``origins`` are the public
    addresses of a proxy in front of the board (``https://board.example``).
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
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    print(f"Leaderboard: {address} (Ctrl-C stops it)", file=sys.stderr, flush=True)
    line = command(port, host, open_browser, origins)
    os.execve(line[0], line, environment)  # noqa: S606 (our own words)


def command(
    port: int, host: str = "127.0.0.1", open_browser: bool = False, origins: Sequence[str] = ()
) -> list[str]:
    """Return the command that serves the board, with the store in ``EVALKIT_STORE``.

    A setting of ours that the environment names (``STREAMLIT_SERVER_ENABLE_CORS``) is left to it.
    """
    options = {
        "server.address": host,
        "server.port": str(port),
        "server.headless": str(not open_browser).lower(),
        **{name: value for name, value in OPTIONS.items() if _variable(name) not in os.environ},
    }
    pairs = [*options.items(), *(("server.corsAllowedOrigins", origin) for origin in origins)]
    settings = [f"--{name}={value}" for name, value in pairs]
    return [sys.executable, "-m", "streamlit", "run", str(Path(__file__).parent / "app.py"), *settings]


def _variable(option: str) -> str:
    """Return the environment variable by which Streamlit reads an option."""
    return "STREAMLIT_" + re.sub(r"(?<=[a-z])([A-Z])|\.", r"_\1", option).upper()


def _free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
