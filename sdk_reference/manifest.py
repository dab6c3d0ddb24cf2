"""The bundle's manifest, schema version 3: what whoever embeds the model must know to decide alike.

Not in the paper, which publishes neither preprocessing nor thresholds. The manifest embeds the runtime's own settings
classes, so that the file and the code cannot name things differently. Nothing has a default on disk: a field left out
is an error, as is one too many, so that no reader has to guess. JSON is written in one canonical form (sorted keys, two
spaces, UTF-8, final newline); the sha256 of those bytes is the identity of a bundle.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from sdk_reference.align import TEMPLATE
from sdk_reference.differential import differential_rows
from sdk_reference.errors import BundleMalformed, BundleSchemaUnsupported
from sdk_reference.preprocess import PreprocessSettings
from sdk_reference.quality import QualityLimits

SCHEMA_VERSION: Final = 3  # 2 knew ONNX fp32 only; 1 neither the registration of frames nor a limit of exposure drift
MAX_MANIFEST_BYTES: Final = 1_000_000
MAX_PATH_LENGTH: Final = 200
SPECIES_ORDER: Final = ("print", "replay", "mask")
"""Order of the `type` output, as in the paper."""

INPUT_NAME: Final = "differential"
OUTPUT_NAMES: Final = ("score", "type", "depth", "flash_response")
DEPTH_STRIDE: Final = 4
"""The depth map has a quarter of the input's side."""

PATH_PART = re.compile(r"[A-Za-z0-9_\-+=@][A-Za-z0-9_\-+=@. ]*")
WINDOWS_DEVICE = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")

Probability = Annotated[float, Field(ge=0, le=1)]
Byte = Annotated[int, Field(ge=0, le=255)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, Field(min_length=1, max_length=2000)]


class Record(BaseModel):
    """Common ground of all parts: immutable, no unknown fields, no silent conversions, no NaN or infinity."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class FileEntry(Record):
    """What a file of the bundle must be."""

    sha256: Sha256
    bytes: Annotated[int, Field(ge=0)]


class FlashColours(Record):
    """The colours that the model was trained to expect."""

    profile: Text
    colours_srgb: Annotated[tuple[tuple[Byte, Byte, Byte], ...], Field(min_length=3, max_length=8)]
    """Screen colours of the default plan by rank (0 = brightest), 8-bit sRGB."""

    palette: Text
    """In words: which other colours and time orders the model was trained with."""


class FaceEllipse(Record):
    """The part of the aligned frame that counts as face, for the gain and for measurements."""

    centre: tuple[float, float]
    semi_axes: tuple[float, float]


class Alignment(Record):
    """The template that every frame is brought to by a least-squares affine map; x right, y down, corner of the first
    pixel (0, 0), its centre (0.5, 0.5)."""

    name: Text
    version: Literal[1]
    landmark_convention: Text
    size: Annotated[int, Field(gt=0)]
    """Side of the aligned frame in pixels."""

    indices: tuple[Annotated[int, Field(ge=0)], ...]
    """Landmarks of the convention that take part."""

    points: tuple[tuple[float, float], ...]
    """Where each of them belongs, in pixels of the aligned frame."""

    face_ellipse: FaceEllipse

    @model_validator(mode="after")
    def one_point_per_landmark(self) -> Alignment:
        if len(self.points) != len(self.indices):
            raise ValueError(f"{len(self.points)} points for {len(self.indices)} landmarks")
        return self


class ResponseRule(Record):
    """The challenge–response check: the colours that the model saw on the face against those that the plan showed."""

    cosine_limit: Annotated[float, Field(ge=-1, le=1)]
    """A row agrees when the cosine between predicted and expected colour differences is at least this."""

    max_disagreeing_rows: Annotated[int, Field(ge=0)]


class Tensor(Record):
    """One input or output of a model file."""

    name: Text
    shape: tuple[Annotated[int, Field(gt=0)], ...]
    dtype: Literal["float32"]
    layout: Text
    range: tuple[float, float]
    """Smallest and largest value."""


class ErrorRate(Record):
    """A rate with its 95 % confidence interval, all in 0 to 1."""

    value: Probability
    low: Probability
    high: Probability

    @model_validator(mode="after")
    def ordered(self) -> ErrorRate:
        if not self.low <= self.value <= self.high:
            raise ValueError(f"the rate {self.value} lies outside its interval {self.low} to {self.high}")
        return self


class OperatingPoint(Record):
    """The threshold and what is known about it."""

    threshold: Annotated[float, Field(gt=0, le=1)]
    """A capture whose score is at least this may be live."""

    chosen_by: Text
    """The rule, e.g. "equal error rate"."""

    split: Literal["validation"]
    """The threshold is never chosen on the test split."""

    simulated: bool
    """Whether the captures behind these rates were simulated: then the rates say nothing about real people."""

    captures: Annotated[int, Field(ge=1)]
    rates: Mapping[str, ErrorRate]
    """E.g. far, frr, bpcer, apcer_print: measured at this threshold on that split."""


class Calibration(Record):
    """The captures whose activations set the ranges of a statically quantized file."""

    seed: Annotated[int, Field(ge=0)]
    """Draws them from the training split."""

    captures: Annotated[int, Field(ge=1)]
    sha256: Sha256
    """Of their model inputs, float32 little-endian, one after the other."""


class Artifact(Record):
    """One converted model."""

    file: str
    """Path of the file; for Core ML of the .mlpackage, which is a folder."""

    format: Literal["onnx", "litert", "coreml"]
    precision: Literal["fp32", "fp16", "int8_weights", "int8_dynamic", "int8_static"]
    """fp16: weights stored in 16 bits; int8_weights: in 8 bits, computed in float; int8_dynamic: activations are
    quantized as they come; int8_static: within ranges measured on the calibration captures. Input and outputs are
    float32 always."""

    opset: Annotated[int, Field(ge=1)] | None
    """Of the standard ONNX domain; None for other formats."""

    runs_on: Text
    """The oldest runtime or system that runs it, e.g. "iOS 16"."""

    float_layers: tuple[Text, ...]
    """Operations with weights that a quantized file computes in float; empty where nothing is quantized."""

    calibration: Calibration | None
    """Of int8_static; None otherwise."""

    inputs: Annotated[tuple[Tensor, ...], Field(min_length=1, max_length=1)]
    outputs: Annotated[tuple[Tensor, ...], Field(min_length=4, max_length=4)]
    tolerances: Mapping[str, Annotated[float, Field(gt=0)]]
    """Largest absolute difference from PyTorch per output that the export accepted."""

    operating_point: OperatingPoint

    @model_validator(mode="after")
    def complete(self) -> Artifact:
        if (self.opset is None) == (self.format == "onnx"):
            raise ValueError(f"opset {self.opset} for the format {self.format}")
        if (self.calibration is None) == (self.precision == "int8_static"):
            raise ValueError(f"calibration {self.calibration} for the precision {self.precision}")
        return self

    def holds(self, path: str) -> bool:
        """Whether the bundle's file at `path` is part of this artifact."""
        return path == self.file or (self.format == "coreml" and path.startswith(f"{self.file}/"))


class Training(Record):
    """Where the weights come from."""

    run: Text
    seed: int
    preset: Text
    data_sha256: Sha256
    captures: Annotated[int, Field(ge=1)]
    subjects: Annotated[int, Field(ge=1)]
    simulated: bool
    """Whether every training capture was simulated."""


class Manifest(Record):
    """`manifest.json` of a bundle."""

    schema_version: Literal[3]
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9\-]{0,63}$")]
    version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")]
    created: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
    """UTC, to the second."""

    licence: Text
    n0: Annotated[int, Field(ge=3, le=8)]
    """Frames per capture."""

    flash: FlashColours
    differential_rows: tuple[tuple[int, int], ...]
    """D: per row the rank taken and the rank subtracted from it."""

    alignment: Alignment
    colour_order: Literal["RGB"]
    preprocess: PreprocessSettings
    depth_bins: Annotated[int, Field(ge=2)]
    species_order: tuple[str, ...]
    """Order of the `type` output."""

    quality_limits: QualityLimits
    response_rule: ResponseRule
    artifacts: Annotated[tuple[Artifact, ...], Field(min_length=1)]
    training: Training
    files: Mapping[str, FileEntry]
    """Every file of the bundle but the manifest itself, by path relative to it with `/` between parts."""

    @field_validator("preprocess", "quality_limits", mode="before")
    @classmethod
    def states_every_setting(cls, value: Any, info: Any) -> Any:
        # The settings classes have defaults for callers; a file that left one out would change meaning with them.
        kind = PreprocessSettings if info.field_name == "preprocess" else QualityLimits
        missing = {field.name for field in dataclasses.fields(kind)} - set(value) if isinstance(value, dict) else set()
        if missing:
            raise ValueError(f"without {', '.join(sorted(missing))}")
        return value

    @field_validator("files")
    @classmethod
    def safe_paths(cls, files: Mapping[str, FileEntry]) -> Mapping[str, FileEntry]:
        for path in files:
            check_path(path)
        if len({path.casefold() for path in files}) != len(files):
            raise ValueError("two paths that differ only in upper and lower case")
        return files

    @model_validator(mode="after")
    def consistent(self) -> Manifest:
        if len(self.flash.colours_srgb) != self.n0:
            raise ValueError(f"{len(self.flash.colours_srgb)} flash colours for n0 = {self.n0}")
        for artifact in self.artifacts:
            if not any(artifact.holds(path) for path in self.files):
                raise ValueError(f"the artifact {artifact.file} is not in `files`")
            check_tensors(artifact, len(self.differential_rows), self.preprocess.input_size)
        return self

    def artifact(self, file: str | None = None) -> Artifact:
        """Return the artifact whose path, or name without folders, is `file`, the first one for None; raises
        BundleMalformed when there is none."""
        for artifact in self.artifacts:
            if file in (None, artifact.file, artifact.file.rpartition("/")[2]):
                return artifact
        known = ", ".join(artifact.file for artifact in self.artifacts)
        raise BundleMalformed(
            found=f"no model {file!r}", expected=f"one of {known}", remedy="name a model of this bundle"
        )


def check_path(path: str) -> None:
    """Raise ValueError unless `path` is relative, stays inside the bundle and is a file name on every system."""
    parts = path.split("/")
    if len(path) > MAX_PATH_LENGTH or not all(PATH_PART.fullmatch(part) for part in parts):
        raise ValueError(f"the unsafe path {path[:MAX_PATH_LENGTH]!r}")
    if any(part.endswith((".", " ")) or WINDOWS_DEVICE.fullmatch(part) for part in parts):
        raise ValueError(f"the path {path!r}, which Windows cannot hold")
    if path == "manifest.json":
        raise ValueError("the manifest listed inside itself")


def expected_shapes(rows: int, input_size: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the model's input and outputs for N = `rows` differences of side `input_size`, by tensor name."""
    side = input_size // DEPTH_STRIDE
    return {
        INPUT_NAME: (rows, 3, input_size, input_size),
        "score": (1,),
        "type": (len(SPECIES_ORDER),),
        "depth": (1, side, side),
        "flash_response": (rows, 3),
    }


def check_tensors(artifact: Artifact, rows: int, input_size: int) -> None:
    """Raise ValueError unless the artifact states exactly the tensors of the contract."""
    stated = {tensor.name: tensor.shape for tensor in (*artifact.inputs, *artifact.outputs)}
    expected = expected_shapes(rows, input_size)
    if stated != expected:
        raise ValueError(f"tensors {stated} in {artifact.file} where {expected} belong")


def runtime_alignment() -> Alignment:
    """Return the alignment that this runtime implements, for those who write a manifest."""
    return Alignment.model_validate_json(json.dumps(TEMPLATE.to_dict()))


def check_runtime_agrees(manifest: Manifest) -> None:
    """Raise BundleSchemaUnsupported when the bundle wants another D, template or species order than this runtime."""
    stated = {
        "differential_rows": (manifest.differential_rows, differential_rows(manifest.n0)),
        "alignment": (manifest.alignment, runtime_alignment()),
        "species_order": (manifest.species_order, SPECIES_ORDER),
    }
    for name, (found, expected) in stated.items():
        if found != expected:
            raise BundleSchemaUnsupported(
                found=f"a bundle whose {name} is {shortened(found)}",
                expected=f"{shortened(expected)}, which this runtime implements",
                remedy="export the model again with this release, or install the release that wrote the bundle",
            )


def shortened(value: object, limit: int = 120) -> str:
    """`value` as text, cut for an error message."""
    text = str(value)
    return text if len(text) <= limit else text[:limit] + " …"


def to_json(manifest: Manifest) -> bytes:
    """Return the canonical JSON of `manifest`, UTF-8."""
    text = json.dumps(manifest.model_dump(mode="json"), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode()


def from_json(data: bytes) -> Manifest:
    """Read a manifest.

    Raises BundleMalformed for what is not a valid manifest and BundleSchemaUnsupported for another schema version,
    which is looked at before anything else, since another version may mean anything by its other fields.
    """
    if len(data) > MAX_MANIFEST_BYTES:
        raise malformed(f"a manifest of {len(data)} bytes", f"at most {MAX_MANIFEST_BYTES}")
    version = parse_object(data).get("schema_version")
    if type(version) is not int or version != SCHEMA_VERSION:
        raise BundleSchemaUnsupported(
            found=f"manifest schema version {shortened(repr(version), 40)}",
            expected=str(SCHEMA_VERSION),
            remedy="install a release of flashproof that reads this version, or export the model again with this one",
        )
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise malformed(f"{first['msg']} at {place or 'the top'} in the manifest", "a valid manifest") from error


def parse_object(data: bytes) -> dict[str, Any]:
    """Parse one JSON object without repeated keys; raises BundleMalformed."""
    try:
        parsed = json.loads(data.decode(), object_pairs_hook=without_repeats)
    except (ValueError, RecursionError) as error:
        raise malformed(f"a manifest that cannot be read ({shortened(error)})", "a JSON object in UTF-8") from error
    if not isinstance(parsed, dict):
        raise malformed(f"a JSON {type(parsed).__name__} as manifest", "a JSON object")
    return cast("dict[str, Any]", parsed)


def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Raise ValueError when a key appears twice: readers differ in which of the two they take."""
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("a key appears twice in one object")
    return dict(pairs)


def malformed(found: str, expected: str) -> BundleMalformed:
    """The error for a broken manifest or archive; what to do is always the same."""
    return BundleMalformed(found=found, expected=expected, remedy="fetch or export the bundle again")
