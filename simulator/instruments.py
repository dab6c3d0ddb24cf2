"""The species of presentations and, within each, the instruments: what an attacker holds or wears.

Names follow ISO/IEC 30107: a species is a kind of presentation attack (section 4.1 of the paper has three), an
instrument one particular form of it.
"""

from __future__ import annotations

SPECIES = ("live", "print", "replay", "mask")
INSTRUMENTS: dict[str, tuple[str, ...]] = {
    "live": ("face",),
    "print": ("print_flat", "print_bent", "print_cropped", "print_holes"),
    "replay": ("replay_phone", "replay_tablet", "replay_monitor"),
    "mask": ("mask_rigid",),
}
