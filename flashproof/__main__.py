"""``python -m flashproof`` is the same as the ``flashproof`` command."""

from flashproof.app import main

main()
