"""ATR-FAS assembled (figure 2 of the paper): one class, two presets.

`PAPER` follows the sizes of the authors' released model: 18.1 M parameters and 36.6 GMAC per capture of six
differential frames at 256×256. The known widths leave a few joints open; we chose, to meet both figures and nothing
else: a 1×1 input convolution in each expert, no skip at the deepest decoder level, channel concatenation at the other
levels, stride 2 in the 7×7 convolution of the flash-response head, and for the attention gate the experts' plan with
widths 32→64 in, 32-64-128 down, 32-32 up. With these the count is 18.43 M (+1.8 %) and 36.7 GMAC (+0.3 %). Equally
undocumented, but without weight in the count: where batch normalisation stands, and that the attention's soft-argmax
runs to 1 like the depth's, not to 255.

`MOBILE` is the same class with settings for a phone and for training on two CPU cores: fewer bins, and few channels in
dense 3×3 blocks, which train faster there than depthwise ones. One convolution alone sees the input's 256×256, the
first of the joint stem; the rest sees means of 2×2 pixels. It has 0.29 M parameters and takes 0.71 GFLOP (0.36 GMAC)
per capture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.modules import (
    BLOCKS,
    COLOUR_CHANNELS,
    SKIPS,
    AttentionGate,
    ClassificationHead,
    Experts,
    FlashResponseHead,
    Fusion,
    JointStem,
    Mixture,
    PositionEmbedding,
    ResUNet,
    Stem,
    TypeGate,
    bin_expectation,
)

TYPES = ("print", "replay", "mask")  # the order of gate logits and of experts
SPOOF, LIVE = 0, 1  # the order of score logits
FUSIONS = ("late", "early")
DOWNSAMPLING = 4  # the stem halves twice


@dataclass(frozen=True)
class NetworkSettings:
    """Every size of the network. Defaults are the paper's."""

    n0: int = 5
    """Frames in a capture; the network sees 2(n0−2) differences."""
    input_size: int = 256
    """S: side of a differential frame in pixels."""
    depth_bins: int = 256
    """K: bins of the depth softmax; bin k stands for depth k/(K−1)."""
    block: str = "inverted_residual"
    """Block of all ResUNets: "inverted_residual" or "dense"."""
    skip: str = "concatenate"
    """How all ResUNets join their skips: "concatenate" or "add"."""
    stem_widths: tuple[int, ...] = (32, 64)
    """Channels of the two stem convolutions."""
    expert_input_width: int = 128
    """Channels after each expert's input convolution."""
    expert_encoder_widths: tuple[int, ...] = (64, 128, 256, 512, 1024)
    """Channels per encoder level, largest map first."""
    expert_decoder_widths: tuple[int, ...] = (256, 128, 64, 64)
    """Channels per decoder level, smallest map first; one fewer than the encoder's."""
    expert_output_kernel: int = 3
    """Side of the experts' output convolution."""
    type_gate_widths: tuple[int, ...] = (32, 64, 64)
    """Channels of the type gate's three convolutions."""
    type_gate_last_kernel: int = 7
    """Side of the type gate's third convolution."""
    type_gate_hidden: int = 32
    """Units between the type gate's two linear layers."""
    attention_stem_widths: tuple[int, ...] = (16, 32)
    """Channels of the attention gate's two convolutions."""
    attention_input_width: int = 64
    """Channels after the attention ResUNet's input convolution."""
    attention_encoder_widths: tuple[int, ...] = (32, 64, 128)
    """Channels per encoder level of the attention ResUNet: two downsamples."""
    attention_decoder_widths: tuple[int, ...] = (32, 32)
    """Channels per decoder level of the attention ResUNet."""
    attention_bins: int = 256
    """Channels over which the attention gate takes its soft-argmax."""
    attention_output_kernel: int = 3
    """Side of the attention ResUNet's output convolution."""
    attention_span: float = 1.0
    """Largest value of that soft-argmax."""
    head_widths: tuple[int, ...] = (16, 8, 4)
    """Channels of the classification head's three convolutions."""
    fusion: str = "late"
    """Where the N differences become one: "late", the paper's, in their depth maps; "early", in features, before the
    experts, which then run once instead of N times."""
    joint_widths: tuple[int, ...] = ()
    """Channels of the joint stem's three convolutions; early fusion only."""
    joint_detail: int = 1
    """1, or 2: all but the joint stem see means over 2×2 pixels of the input, and every map is half as wide; early
    fusion only."""
    shared_encoder: bool = False
    """Whether the experts share one encoder."""
    response_width: int = 64
    """Channels of the flash-response head's convolution."""
    response_kernel: int = 7
    """Side of that convolution."""
    response_hidden: int = 32
    """Units between the flash-response head's two linear layers."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, list):
                object.__setattr__(self, field.name, tuple(value))
        _check(self)

    @property
    def n_frames(self) -> int:
        """N: differential frames per capture."""
        return 2 * (self.n0 - 2)

    @property
    def map_size(self) -> int:
        """Side of the depth map in pixels."""
        return self.input_size // (DOWNSAMPLING * self.joint_detail)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> NetworkSettings:
        """The inverse of `to_dict`; a missing or unknown name is refused, since weights would not fit a default."""
        known = {field.name for field in fields(cls)}
        if set(values) != known:
            raise ValueError(
                f"found network settings with unknown {sorted(set(values) - known)} and missing "
                f"{sorted(known - set(values))}; expected exactly the names of NetworkSettings; retrain"
            )
        return cls(**values)


def _unets(s: NetworkSettings) -> tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]:
    """Encoder and decoder widths of an expert and of the attention gate."""
    return (
        (s.expert_encoder_widths, s.expert_decoder_widths),
        (s.attention_encoder_widths, s.attention_decoder_widths),
    )


def _check(settings: NetworkSettings) -> None:
    """Raise ValueError for sizes that cannot be built, naming the setting."""
    levels = max(len(settings.expert_encoder_widths), len(settings.attention_encoder_widths))
    multiple = DOWNSAMPLING * 2 ** (levels - 1) * max(settings.joint_detail, 1)
    problems = {
        "n0 must be 3 to 8": not 3 <= settings.n0 <= 8,
        f"input_size must be a positive multiple of {multiple}": settings.input_size <= 0
        or settings.input_size % multiple != 0,
        "depth_bins and attention_bins must be at least 2": min(settings.depth_bins, settings.attention_bins) < 2,
        f"block must be one of {sorted(BLOCKS)}": settings.block not in BLOCKS,
        f"skip must be one of {SKIPS}": settings.skip not in SKIPS,
        "stem widths must be two": len(settings.stem_widths) != 2 or len(settings.attention_stem_widths) != 2,
        "type_gate_widths and head_widths must be three": len(settings.type_gate_widths) != 3
        or len(settings.head_widths) != 3,
        f"fusion must be one of {FUSIONS}": settings.fusion not in FUSIONS,
        "joint_widths must be three for early fusion and none for late": len(settings.joint_widths)
        != (3 if settings.fusion == "early" else 0),
        "joint_detail must be 1, or with early fusion 2": settings.joint_detail not in (1, 2)
        or (settings.joint_detail == 2 and settings.fusion != "early"),
        "widths joined by adding must be equal": settings.skip == "add"
        and any(
            tuple(decoder[: len(encoder) - 2]) != tuple(reversed(encoder[:-2])) for encoder, decoder in _unets(settings)
        ),
        "a ResUNet needs two or more encoder levels and one decoder level fewer": any(
            len(encoder) < 2 or len(decoder) != len(encoder) - 1 for encoder, decoder in _unets(settings)
        ),
    }
    found = [text for text, wrong in problems.items() if wrong]
    if found:
        raise ValueError(f"found network settings {settings}; expected: {'; '.join(found)}; correct the named setting")


PAPER = NetworkSettings()
# Widths are multiples of 16: others leave the CPU's vector paths, and batch normalisation alone then costs half a step.
MOBILE = NetworkSettings(
    input_size=256,
    depth_bins=32,
    block="dense",
    skip="add",
    stem_widths=(16, 16),
    expert_input_width=48,
    expert_encoder_widths=(48, 64, 48),
    expert_decoder_widths=(48, 32),
    expert_output_kernel=1,
    type_gate_widths=(16, 32, 32),
    type_gate_last_kernel=3,
    type_gate_hidden=32,
    attention_stem_widths=(16, 16),
    attention_input_width=16,
    attention_encoder_widths=(16, 16, 32),
    attention_decoder_widths=(16, 16),
    attention_bins=16,
    attention_output_kernel=1,
    attention_span=8.0,
    head_widths=(16, 8, 4),
    fusion="early",
    joint_widths=(32, 32, 64),
    joint_detail=2,
    shared_encoder=True,
    response_width=32,
    response_kernel=3,
    response_hidden=32,
)
PRESETS = {"paper": PAPER, "mobile": MOBILE}


@dataclass(frozen=True)
class NetworkOutputs:
    """Everything one forward pass gives, for B captures of N differential frames; h = w = `map_size`. float32
    throughout."""

    score_logits: Tensor
    """B×2, order spoof, live."""
    score: Tensor
    """B, probability of live."""
    type_logits: Tensor
    """B×N′×3: one judgement of the attack type per frame, order print, replay, mask. N′ is N, or 1 where the frames are
    fused before they are judged."""
    type: Tensor
    """B×3 probabilities: softmax of the mean of the frames' logits."""
    attention: Tensor
    """B×N×h×w, A: sums to 1 over the frames at each pixel."""
    frame_depth_logits: Tensor
    """B×N′×K×h×w: the mixed logits over depth bins."""
    frame_depth: Tensor
    """B×N′×h×w in 0..1: X′."""
    depth: Tensor
    """B×h×w in 0..1: X̂, nearest = 1 for a live face, 0.5 everywhere for a spoof."""
    flash_response: Tensor
    """B×N×3: (R−G, G−B, B−R) of the light each difference was lit by, in units of its strongest channel."""


class ATRFAS(nn.Module):
    """The whole network: differential frames B×N×3×S×S float32 in −1..1 → NetworkOutputs."""

    def __init__(self, settings: NetworkSettings = PAPER) -> None:
        super().__init__()
        s = settings
        early = s.fusion == "early"
        self.settings = settings
        self.stem = Stem(s.stem_widths)
        self.joint_stem = JointStem(s.n_frames, s.joint_widths, s.joint_detail) if early else None
        self.position_embedding = PositionEmbedding(s.stem_widths[-1], s.map_size)
        self.experts = _experts(s, s.stem_widths[-1] + (s.joint_widths[-1] if early else 0))
        self.type_gate = TypeGate(
            s.type_gate_widths,
            s.type_gate_last_kernel,
            s.type_gate_hidden,
            len(TYPES),
            inputs=COLOUR_CHANNELS * (s.n_frames if early else 1),
        )
        self.attention_gate = AttentionGate(s.attention_stem_widths, _attention_unet(s), s.attention_span)
        self.mixture = Mixture()
        self.fusion = Fusion()
        self.classification_head = ClassificationHead(s.head_widths, s.map_size)
        self.flash_response_head = FlashResponseHead(
            s.stem_widths[-1], s.response_width, s.response_kernel, s.response_hidden
        )

    def forward(self, differential: Tensor) -> NetworkOutputs:
        self._check_input(differential)
        by_capture = partial(_by_capture, batch=differential.shape[0])
        frames = self.coarse(differential.flatten(0, 1))
        features = self.stem(frames)
        attention = torch.softmax(by_capture(self.attention_gate(frames)), dim=1)
        if self.joint_stem is None:
            type_logits = self.type_gate(frames).float()
            depth_logits = self.depth_logits(features, type_logits)
        else:
            fused = (by_capture(features) * attention.unsqueeze(2).to(features.dtype)).sum(dim=1)
            type_logits = self.type_gate(by_capture(frames).flatten(1, 2)).float()
            depth_logits = self.depth_logits(fused, type_logits, self.joint_stem(differential.flatten(1, 2)))
        frame_depth = by_capture(bin_expectation(depth_logits))
        depth = frame_depth[:, 0] if self.joint_stem is not None else self.fusion(attention, frame_depth)
        score_logits = self.classification_head(depth.unsqueeze(1)).float()
        return NetworkOutputs(
            score_logits=score_logits,
            score=torch.softmax(score_logits, dim=1)[:, LIVE],
            type_logits=by_capture(type_logits),
            type=torch.softmax(by_capture(type_logits).mean(dim=1), dim=1),
            attention=attention,
            frame_depth_logits=by_capture(depth_logits),
            frame_depth=frame_depth,
            depth=depth,
            flash_response=by_capture(self.flash_response_head(features).float()),
        )

    def coarse(self, frames: Tensor) -> Tensor:
        """What all but the joint stem sees of frames F×3×S×S: means over `joint_detail`² pixels."""
        detail = self.settings.joint_detail
        return frames if detail == 1 else F.avg_pool2d(frames, detail)

    def widened(self, depth: Tensor) -> Tensor:
        """Depth maps B×h×w in the size of the contract, B×S/4×S/4: each value repeated where the map is coarser."""
        detail = self.settings.joint_detail
        return depth if detail == 1 else F.interpolate(depth.unsqueeze(0), scale_factor=float(detail)).squeeze(0)

    def depth_logits(self, features: Tensor, type_logits: Tensor, joint: Tensor | None = None) -> Tensor:
        """Stem features F×C×h×w and gate logits F×3 → mixed logits over depth bins, F×K×h×w (section 1.4).

        `joint` F×J×h×w, with early fusion, stands beside the features.
        """
        positioned = self.position_embedding(features)
        seen = positioned if joint is None else torch.cat([positioned, joint], dim=1)
        mixed: Tensor = self.mixture(self.experts(seen), type_logits)
        return mixed

    def _check_input(self, differential: Tensor) -> None:
        s = self.settings
        expected = (s.n_frames, 3, s.input_size, s.input_size)
        if differential.dim() != 5 or tuple(differential.shape[1:]) != expected:
            raise ValueError(
                f"found a network input of shape {tuple(differential.shape)}; expected B captures of {expected}; "
                "prepare the capture with sdk_reference.preprocess and this network's n0 and input_size"
            )


def drawn_network(settings: NetworkSettings, seed: int) -> ATRFAS:
    """A network with the weights that a seed draws; torch's own generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ATRFAS(settings)


def _by_capture(frames: Tensor, batch: int) -> Tensor:
    """Unfold the frames of `batch` captures: (B·N)×… → B×N×…."""
    return frames.reshape(batch, -1, *frames.shape[1:])


def _experts(s: NetworkSettings, inputs: int) -> Experts:
    return Experts(
        len(TYPES),
        inputs,
        s.expert_input_width,
        s.expert_encoder_widths,
        s.expert_decoder_widths,
        s.depth_bins,
        block=s.block,
        skip=s.skip,
        output_kernel=s.expert_output_kernel,
        shared_encoder=s.shared_encoder,
    )


def _attention_unet(s: NetworkSettings) -> ResUNet:
    return ResUNet(
        s.attention_stem_widths[-1],
        s.attention_input_width,
        s.attention_encoder_widths,
        s.attention_decoder_widths,
        s.attention_bins,
        block=s.block,
        skip=s.skip,
        output_kernel=s.attention_output_kernel,
    )
