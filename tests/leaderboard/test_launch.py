"""Starting the board: the port, the closed doors."""

from __future__ import annotations

import socket
import urllib.request
from pathlib import Path

import pytest
from evalkit_leaderboard.launch import command, launch

from benchmarks.servers import free_port
from evalkit.errors import UsageError
from tests.leaderboard.conftest import serve


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


def test_a_setting_of_streamlit_in_the_environment_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMLIT_SERVER_ENABLE_CORS", "false")
    line = command(8501)
    assert not any(option.startswith("--server.enableCORS") for option in line)
    assert "--server.enableXsrfProtection=true" in line


def test_a_proxy_in_front_is_let_in_by_its_address(filled: Path) -> None:
    """nginx sends its own Host; the browser's Origin is the public name."""
    origin = "https://board.example"
    for allowed, status in (((origin,), 101), ((), 403)):
        with serve(filled, origins=allowed) as address:
            port = int(address.rpartition(":")[2])
            assert upgrade(port, origin) == status


def upgrade(port: int, origin: str) -> int:
    """Ask for the web socket of the page, as a browser does; return the status of the answer."""
    lines = [
        "GET /_stcore/stream HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        f"Origin: {origin}",
        "\r\n",
    ]
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall("\r\n".join(lines).encode())
        return int(connection.recv(12).decode().split()[1])


def test_the_address_of_ipv6_can_be_opened(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.execve", lambda *_: None)
    port = free_port()
    launch(None, port, "::1")
    assert f"http://[::1]:{port} " in capsys.readouterr().err


def test_a_served_board_is_healthy(board: str) -> None:
    with urllib.request.urlopen(f"{board}/_stcore/health") as answer:
        assert answer.read() == b"ok"
