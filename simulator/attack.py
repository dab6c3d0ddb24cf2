"""Presentation attacks: a print, a screen that replays, a 3D mask or head model; the paper's three types (section 4.1).

Each shows the same kind of simulated person as a live capture does, at the same size, in a pose and a room drawn alike.
Prints and replays show a picture that is drawn straight into the capture's own pixels (`simulator.portrait`); a mask is
the same head in another material. So sharpness, colour and brightness do not tell, only the answer to the flash does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from simulator.ambient import Lighting
from simulator.cues import PrintCues, ReplayCues
from simulator.framing import Framing
from simulator.head import HeadMesh, build_head
from simulator.identity import SUBJECT_COUNT, Expression, Identity
from simulator.masks import Mask
from simulator.portrait import Hanging, take_portrait
from simulator.prints import Print
from simulator.replays import Replay
from simulator.scene import SKIN, Finish, LightLayers, Pose, View, render_head
from simulator.sheet import FLAT
from simulator.streams import stream
from simulator.truth_landmarks import ShownFace

ATTACKER_BEHIND_CM = 9.0
"""How far behind a cut paper the attacker's eyes are: his nose must not pierce it."""
SEEN_MARGIN_CM = 1.0
"""Skin this far from a hole's edge still scatters light into what is seen through it."""


@dataclass(frozen=True)
class Artefact:
    """What stands before the camera, rendered."""

    layers: LightLayers
    shown: ShownFace
    """Whose face it shows, and where."""
    scale: float = 1.0
    """Shown face over life size; the artefact's distance is that of a live face times it."""
    detail: str = ""
    """What the instrument's name leaves open, such as 'glossy, bent' or 'skin-like, worn, eye holes'."""


def present(
    seed: int,
    species: str,
    instrument: str,
    identity: Identity,
    mesh: HeadMesh,
    framing: Framing,
    view: View,
    lighting: Lighting,
    *,
    cues: bool = False,
    skin: Finish = SKIN,
) -> Artefact:
    """Render what stands before the camera; everything about it follows from `seed` and the other arguments.

    Another `mesh` of the same person (eyes shut) gives the same artefact but for the face's expression. `cues` adds
    what betrays an attack in a single image: printer's dots and paper's border, a display's pixels, banding and bezel.
    `skin` is what a live face is made of: another one, to measure what a model tells skin by (`training.skin_probe`).
    """
    rng = stream(seed, "artefact")
    if species == "live":
        layers = render_head(identity, mesh, framing.head_pose(), view, lighting, skin)
        return Artefact(layers, ShownFace(identity, mesh, framing.head_pose()))
    if species == "mask":
        mask = Mask.draw(rng, instrument)
        shown, shape = mask.shaped(identity, mesh)
        layers = render_head(shown, shape, framing.head_pose(), view, lighting, mask.finish)
        return Artefact(layers, ShownFace(shown, shape, framing.head_pose()), detail=mask.detail)
    if species == "replay":
        return _replay(rng, instrument, identity, mesh, framing, view, lighting, cues)
    return _print(rng, seed, instrument, identity, mesh, framing, view, lighting, cues)


def _held_pose(framing: Framing, scale: float) -> Pose:
    """How a sheet is held: turned as a live head would be, but upright; its picture has a roll of its own."""
    return replace(framing, roll=0.0).plane_pose(scale)


def _replay(
    rng: np.random.Generator,
    instrument: str,
    identity: Identity,
    mesh: HeadMesh,
    framing: Framing,
    view: View,
    lighting: Lighting,
    cues: bool,
) -> Artefact:
    replay = Replay.draw(rng, instrument, lighting.ambient)
    betrayal = ReplayCues.draw(rng) if cues else None
    hanging = Hanging(FLAT, _held_pose(framing, replay.scale), replay.scale, framing.distance_cm, view)
    portrait = take_portrait(rng, identity, mesh, hanging, lighting.ambient, neutral=False)
    layers = replay.render(portrait, hanging, lighting, betrayal)
    return Artefact(layers, portrait.shown, replay.scale, replay.detail)


def _print(
    rng: np.random.Generator,
    seed: int,
    instrument: str,
    identity: Identity,
    mesh: HeadMesh,
    framing: Framing,
    view: View,
    lighting: Lighting,
    cues: bool,
) -> Artefact:
    paper = Print.draw(rng, instrument)
    pose = _held_pose(framing, paper.scale)
    paper = replace(paper, sheet=paper.sheet.covering(pose, view))
    betrayal = PrintCues.draw(rng) if cues else None
    if betrayal is not None and paper.outlined:
        betrayal = betrayal.without_border
    hanging = Hanging(paper.sheet, pose, paper.scale, framing.distance_cm, view)
    portrait = take_portrait(rng, identity, mesh, hanging, lighting.ambient, neutral=True)
    layers = paper.render(portrait, hanging, lighting, betrayal)
    if paper.cut:
        layers = _attacker(stream(seed, "attacker"), framing, view, lighting, layers).under(layers)
    return Artefact(layers, portrait.shown, paper.scale, paper.detail)


def _attacker(
    rng: np.random.Generator, framing: Framing, view: View, lighting: Lighting, paper: LightLayers
) -> LightLayers:
    """Whoever holds a cut paper, in its shadow; none of him counts as the presented face."""
    identity = Identity.draw(int(rng.integers(SUBJECT_COUNT)))
    mesh = build_head(identity, Expression.draw(rng))
    pose = framing.head_pose()
    along_ray = 1.0 + ATTACKER_BEHIND_CM / framing.distance_cm
    moved = Pose(pose.rotation, (pose.translation_cm * np.float32(along_ray)).astype(np.float32))
    margin_px = SEEN_MARGIN_CM * view.focal_px / framing.distance_cm
    layers = render_head(
        identity, _part_seen(mesh, moved, view, ~paper.covered, margin_px), moved, view, lighting, SKIN, paper.depth_cm
    )
    return LightLayers(layers.ambient, layers.screen, layers.covered, layers.depth_cm, np.zeros_like(layers.face))


def _part_seen(mesh: HeadMesh, pose: Pose, view: View, seen: np.ndarray, margin_px: float) -> HeadMesh:
    """The mesh without the triangles that the paper hides, which need no drawing."""
    near = cv2.dilate(seen.astype(np.uint8), np.ones((2 * round(margin_px) + 1,) * 2, np.uint8)) > 0
    points = pose.apply(mesh.vertices_cm)
    scale = view.focal_px / np.maximum(-points[:, 2], 1.0)
    column = np.clip(view.centre_px[0] + points[:, 0] * scale, 0, view.size - 1).astype(np.int32)
    row = np.clip(view.centre_px[1] - points[:, 1] * scale, 0, view.size - 1).astype(np.int32)
    kept = near[row, column][mesh.triangles].any(1)
    kept[:1] = True  # a mesh of nothing cannot be drawn
    return replace(mesh, triangles=np.ascontiguousarray(mesh.triangles[kept]))
