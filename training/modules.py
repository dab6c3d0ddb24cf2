"""The parts of ATR-FAS as separate modules, under the names the paper gives them (sections 1.3 to 1.5, figure 2).

Each part sees *frames*: the N differential frames of every capture of a batch, folded into the first axis, F = B·N.
No tensor here has more than four axes, so that the same modules serve in training and in the exported file. Widths
are arguments; the paper's are in `network.PAPER`. What the paper leaves open and we chose is said in each docstring.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EXPANSION = 2  # an inverted-residual block works inside on twice its input channels
COLOUR_CHANNELS = 3
# Smaller epsilons round to zero in fp16 (EXPORT.md: nothing below 6e-5 survives).
EPSILON = 1e-4


def conv_norm(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU; the output is ceil(size / stride) on each side."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs, eps=EPSILON),
        nn.ReLU(inplace=True),
    )


def inverted_residual(inputs: int, outputs: int) -> nn.Sequential:
    """1×1 expansion, depthwise 3×3, 1×1 projection (the paper's block); F×inputs×h×w → F×outputs×h×w.

    The inner normalisation has no scale and shift of its own: the projection right after it can learn the scale. There
    is no shortcut, because no block of the paper's experts keeps its width.
    """
    hidden = EXPANSION * inputs
    return nn.Sequential(
        nn.Conv2d(inputs, hidden, 1, bias=False),
        nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden, bias=False),
        nn.BatchNorm2d(hidden, eps=EPSILON, affine=False),
        nn.ReLU(inplace=True),
        nn.Conv2d(hidden, outputs, 1, bias=False),
        nn.BatchNorm2d(outputs, eps=EPSILON),
        nn.ReLU(inplace=True),
    )


# Dense 3×3 blocks do more arithmetic than depthwise ones, yet train faster on a CPU (docs/log.md has the figures).
BLOCKS = {"inverted_residual": inverted_residual, "dense": conv_norm}
SKIPS = ("concatenate", "add")


def bin_expectation(logits: Tensor) -> Tensor:
    """Soft-argmax over bins: logits F×K×h×w → Σ_k softmax(logits)_k · k/(K−1), F×h×w in 0..1.

    Written as multiply and sum: as a 1×1 convolution a quantizer would take it for one and ruin the depth.
    """
    probabilities = torch.softmax(logits.float(), dim=1)
    return (probabilities * bin_values(logits.shape[1], probabilities).view(1, -1, 1, 1)).sum(dim=1)


def bin_values(bins: int, like: Tensor) -> Tensor:
    """The depth each bin stands for, 0 to 1 in equal steps, as a vector of `bins` values."""
    return torch.linspace(0.0, 1.0, bins, dtype=like.dtype, device=like.device)


def l2_normalise(features: Tensor) -> Tensor:
    """Scale each row of B×D features to length 1; a row of zeros stays zero.

    The row is divided by its largest value first, so that the sum of squares neither overflows nor vanishes in fp16.
    """
    scaled = features / (features.abs().amax(dim=1, keepdim=True) + EPSILON)
    return scaled / torch.sqrt((scaled * scaled).sum(dim=1, keepdim=True) + EPSILON)


class Stem(nn.Module):
    """Two 3×3 convolutions of stride 2: F×3×S×S → F×C×S/4×S/4 (section 1.4)."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        first, second = widths
        self.layers = nn.Sequential(conv_norm(COLOUR_CHANNELS, first, stride=2), conv_norm(first, second, stride=2))

    def forward(self, frames: Tensor) -> Tensor:
        features: Tensor = self.layers(frames)
        return features


class PositionEmbedding(nn.Module):
    """Adds P, one learned 1×C×h×w map shared by all frames: X⁰ = Stem(X) + P (section 1.4)."""

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.zeros(1, channels, size, size))

    def forward(self, features: Tensor) -> Tensor:
        return features + self.embedding.to(features.dtype)  # autocast would widen the sum


class Encoder(nn.Module):
    """A ResUNet's way down: F×inputs×h×w → the output of every level, largest map first.

    One block per entry of `widths`, with 2×2 max-pooling between them. The input convolution is 1×1: 3×3 would add
    5 GMAC to the paper's preset, which then exceeds the size that the authors report.
    """

    def __init__(self, inputs: int, input_width: int, widths: Sequence[int], *, block: str) -> None:
        super().__init__()
        self.input = conv_norm(inputs, input_width, kernel=1)
        self.blocks = nn.ModuleList(BLOCKS[block](a, b) for a, b in pairwise([input_width, *widths]))

    def forward(self, features: Tensor) -> list[Tensor]:
        x = self.input(features)
        outputs: list[Tensor] = []
        for block in self.blocks:
            x = block(F.max_pool2d(x, 2, stride=2) if outputs else x)
            outputs.append(x)
        return outputs


class Decoder(nn.Module):
    """A ResUNet's way up: the outputs of an `Encoder` of `encoder_widths` → F×bins×h×w logits.

    Each block first doubles its input by nearest-neighbour upsampling and joins the encoder's output of that size: by
    channels (`skip` "concatenate", the paper's preset) or by sum ("add", where both widths are equal; half the
    arithmetic). The first block takes no skip: with one, three experts would exceed the size the authors report by
    almost half.
    """

    def __init__(
        self,
        encoder_widths: Sequence[int],
        widths: Sequence[int],
        bins: int,
        *,
        block: str,
        skip: str,
        output_kernel: int,
    ) -> None:
        super().__init__()
        self.concatenates = skip == "concatenate"
        skip_widths = [0, *(width * self.concatenates for width in reversed(encoder_widths[:-2]))]
        below = [encoder_widths[-1], *widths]
        self.blocks = nn.ModuleList(
            BLOCKS[block](a + b, out) for a, b, out in zip(below, skip_widths, widths, strict=False)
        )
        self.output = nn.Conv2d(widths[-1], bins, output_kernel, padding=output_kernel // 2)

    def forward(self, encoded: Sequence[Tensor]) -> Tensor:
        *skips, _, x = encoded  # the deepest skip, before the last, is taken by no block
        for index, block in enumerate(self.blocks):
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
            x = block(self._join(x, skips[-index]) if index else x)
        logits: Tensor = self.output(x)
        return logits

    def _join(self, x: Tensor, skip: Tensor) -> Tensor:
        return torch.cat([x, skip], dim=1) if self.concatenates else x + skip


class ResUNet(nn.Module):
    """Encoder, decoder with skips, output convolution: F×inputs×h×w → F×bins×h×w logits (sections 1.3 and 1.4)."""

    def __init__(
        self,
        inputs: int,
        input_width: int,
        encoder_widths: Sequence[int],
        decoder_widths: Sequence[int],
        bins: int,
        *,
        block: str,
        skip: str,
        output_kernel: int,
    ) -> None:
        super().__init__()
        self.encoder = Encoder(inputs, input_width, encoder_widths, block=block)
        self.decoder = Decoder(
            encoder_widths, decoder_widths, bins, block=block, skip=skip, output_kernel=output_kernel
        )

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.decoder(self.encoder(features))
        return logits


class Experts(nn.Module):
    """The M experts: F×inputs×h×w → M maps of F×K×h×w logits (section 1.4).

    As in the paper each expert is a ResUNet of its own. `shared_encoder` lets them share the way down, which sees the
    same input for all of them, and keep a way up each.
    """

    def __init__(
        self,
        experts: int,
        inputs: int,
        input_width: int,
        encoder_widths: Sequence[int],
        decoder_widths: Sequence[int],
        bins: int,
        *,
        block: str,
        skip: str,
        output_kernel: int,
        shared_encoder: bool,
    ) -> None:
        super().__init__()
        encoders = 1 if shared_encoder else experts
        self.encoders = nn.ModuleList(
            Encoder(inputs, input_width, encoder_widths, block=block) for _ in range(encoders)
        )
        self.decoders = nn.ModuleList(
            Decoder(encoder_widths, decoder_widths, bins, block=block, skip=skip, output_kernel=output_kernel)
            for _ in range(experts)
        )

    def forward(self, features: Tensor) -> list[Tensor]:
        encoded = [encoder(features) for encoder in self.encoders]
        return [decoder(encoded[min(k, len(encoded) - 1)]) for k, decoder in enumerate(self.decoders)]


class JointStem(nn.Module):
    """All N differences of a capture at once, before anything is pooled: B×3N×S×S → B×C×s×s, s = S / (4·`detail`).

    Not in the paper, which shows its network one difference at a time and mixes their depth maps in the end. What tells
    a mask lies at the edge of the noise in each of them; here they can be weighed against each other first. `detail` is
    1 or 2: how many times as wide as everybody else's this one's view is.
    """

    def __init__(self, differences: int, widths: Sequence[int], detail: int = 1) -> None:
        super().__init__()
        first, second, third = widths
        self.layers = nn.Sequential(
            conv_norm(COLOUR_CHANNELS * differences, first, stride=2),
            conv_norm(first, second, stride=detail),
            conv_norm(second, third, stride=2),
        )

    def forward(self, stacked: Tensor) -> Tensor:
        features: Tensor = self.layers(stacked)
        return features


class TypeGate(nn.Module):
    """G_g: three stride-2 convolutions, global average pool, two linear layers: F×3×S×S → F×M logits (section 1.3).

    It runs on every differential frame by itself, or (`inputs` 3N) on all of a capture at once. The order of the M
    types is print, replay, mask.
    """

    def __init__(
        self, widths: Sequence[int], last_kernel: int, hidden: int, types: int, inputs: int = COLOUR_CHANNELS
    ) -> None:
        super().__init__()
        first, second, third = widths
        self.convolutions = nn.Sequential(
            conv_norm(inputs, first, stride=2),
            conv_norm(first, second, stride=2),
            conv_norm(second, third, kernel=last_kernel, stride=2),
        )
        self.linear = nn.Sequential(nn.Linear(third, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, types))

    def forward(self, frames: Tensor) -> Tensor:
        logits: Tensor = self.linear(self.convolutions(frames).mean(dim=(2, 3)))
        return logits


class AttentionGate(nn.Module):
    """G_a before its softmax over frames: F×3×S×S → one value per pixel and frame, F×S/4×S/4 in 0..span.

    Two stride-2 convolutions, a small ResUNet with two downsamples, and a soft-argmax over its output channels
    (section 1.3). After the softmax over frames one frame can outweigh another by exp(span) at most.
    """

    def __init__(self, stem_widths: Sequence[int], unet: ResUNet, span: float) -> None:
        super().__init__()
        self.stem = Stem(stem_widths)
        self.unet = unet
        self.span = span

    def forward(self, frames: Tensor) -> Tensor:
        return bin_expectation(self.unet(self.stem(frames))) * self.span


class Mixture(nn.Module):
    """The experts' *logits* weighted by softmax(g): M of F×K×h×w and g F×M → F×K×h×w (section 1.4).

    The softmax over depth bins comes after this, not before.
    """

    def forward(self, expert_logits: Sequence[Tensor], type_logits: Tensor) -> Tensor:
        if len(expert_logits) != type_logits.shape[1]:
            raise ValueError(
                f"found {len(expert_logits)} experts and gate logits of shape {tuple(type_logits.shape)}; expected one "
                "gate column per expert; build both with the same number of types"
            )
        # In the experts' own type: under autocast this halves the traffic of the largest tensors of the network.
        weights = torch.softmax(type_logits.float(), dim=1).to(expert_logits[0].dtype)
        terms = [logits * weights[:, i].view(-1, 1, 1, 1) for i, logits in enumerate(expert_logits)]
        return sum(terms[1:], start=terms[0])


class Fusion(nn.Module):
    """X̂ = Σ_frames A ⊙ X′: attention and frame depths, both B×N×h×w → depth B×h×w in 0..1 (section 1.4)."""

    def forward(self, attention: Tensor, frame_depth: Tensor) -> Tensor:
        return (attention * frame_depth).sum(dim=1)


class ClassificationHead(nn.Module):
    """Three 3×3 convolutions (the first of stride 2), flatten, L2-normalise, one linear layer (section 1.5).

    Depth B×1×h×w → B×2 logits, order spoof, live. The head sees nothing but the depth map: that is the paper's design.
    The last convolution has neither normalisation nor ReLU (our choice), so that the unit vector can point anywhere.
    """

    def __init__(self, widths: Sequence[int], size: int) -> None:
        super().__init__()
        first, second, third = widths
        self.convolutions = nn.Sequential(
            conv_norm(1, first, stride=2), conv_norm(first, second), nn.Conv2d(second, third, 3, padding=1)
        )
        half = (size + 1) // 2
        self.linear = nn.Linear(third * half * half, 2)

    def forward(self, depth: Tensor) -> Tensor:
        features = self.convolutions(depth).flatten(start_dim=1)
        logits: Tensor = self.linear(l2_normalise(features.float()))
        return logits


class FlashResponseHead(nn.Module):
    """Which colour lit each differential frame: stem features F×C×h×w → F×3, (R−G, G−B, B−R).

    Not in the paper; it is the challenge–response check of the authors' released model. One value per colour comes
    out of the last layer and the pairwise differences are taken, so each row sums to zero by construction.
    """

    def __init__(self, inputs: int, width: int, kernel: int, hidden: int) -> None:
        super().__init__()
        self.convolution = conv_norm(inputs, width, kernel=kernel, stride=2)
        self.linear = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, COLOUR_CHANNELS))

    def forward(self, features: Tensor) -> Tensor:
        colour: Tensor = self.linear(self.convolution(features).mean(dim=(2, 3)))
        following = torch.cat([colour[:, 1:], colour[:, :1]], dim=1)
        return colour - following
