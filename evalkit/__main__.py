"""``python -m evalkit``: the command, without its script."""

from evalkit.cli import main

main()
