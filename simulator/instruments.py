"""The species of presentations and, within each, the instruments: what an attacker holds or wears.

Names follow ISO/IEC 30107: a species is a kind of presentation attack (section 4.1 of the paper has three), an
instrument one particular form of it. Prints and replays are the paper's own list (section 5.1); it only says "3D masks
and 3D head models", so the mask instruments, one per material, are ours. Whether a print is flat or bent, and how a
mask is finished, is drawn and told by `simulator.attack.Artefact.detail`.
"""

from __future__ import annotations

SPECIES = ("live", "print", "replay", "mask")
INSTRUMENTS: dict[str, tuple[str, ...]] = {
    "live": ("face",),
    "print": ("print_colour", "print_gray", "print_hd", "print_holes", "print_cropped"),
    "replay": ("replay_phone", "replay_computer", "replay_tv"),
    "mask": (
        "mask_resin",
        "mask_silicone",
        "mask_latex",
        "mask_plastic",
        "mask_plaster",
        "mask_paper",
        "mask_mannequin",
    ),
}
