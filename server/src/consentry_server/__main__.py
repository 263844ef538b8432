"""``python -m consentry_server`` is the ``consentry`` command."""

from consentry_server.cli import main

main()
