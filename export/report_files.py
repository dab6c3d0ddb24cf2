"""Where a bundle keeps what the export measured."""

from __future__ import annotations

from typing import Final

PARITY_FILE: Final = "reports/parity.json"
"""Per artifact what ran it and its gates; written by `export.pack`."""

DECISIONS_FILE: Final = "reports/decisions.json"
"""Per artifact its verdicts beside PyTorch's; written by `export.pack`, absent where they were not compared."""
