"""Starting the board: the port, the closed doors."""

from __future__ import annotations

import socket
import urllib.request

import pytest
from evalkit_leaderboard.launch import command, launch

from evalkit.errors import UsageError


def test_a_port_that_is_taken_is_named_with_a_free_one() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=rf"port {port} on 127.0.0.1 is in use.*--port \d+"):
            launch(None, port)


def test_it_listens_on_this_machine_only_and_tells_nobody() -> None:
    line = command(8501)
    for option in (
        "--server.address=127.0.0.1",
        "--server.enableXsrfProtection=true",
        "--server.enableCORS=true",
        "--browser.gatherUsageStats=false",
        "--client.showErrorDetails=none",
    ):
        assert option in line


def test_a_served_board_is_healthy(board: str) -> None:
    with urllib.request.urlopen(f"{board}/_stcore/health") as answer:
        assert answer.read() == b"ok"
