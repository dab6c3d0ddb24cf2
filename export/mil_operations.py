"""MIL's operations in torch: one small function for each kind that our programs use, by MIL's name.

Parameters are named and defaulted as in coremltools' reference of MIL. An argument that a function does not have, or a
value that it does not implement, is an error: an evaluator that skips what it does not know proves nothing. Arithmetic
is in float32; the caller rounds results where a program stores them in fp16.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

SPATIAL: Final = 2
"""Axes of a picture: operations of other dimensionality do not occur."""


class NotImplementedByEvaluator(ValueError):
    """A value of an argument that these functions do not implement."""


def implemented(holds: bool, what: str) -> None:
    """Raise NotImplementedByEvaluator, naming `what`, unless `holds`."""
    if not holds:
        raise NotImplementedByEvaluator(f"{what}, which is not implemented")


def conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    strides: Sequence[int] = (1, 1),
    pad_type: str = "valid",
    pad: Sequence[int] = (0, 0, 0, 0),
    dilations: Sequence[int] = (1, 1),
    groups: int = 1,
) -> Tensor:
    implemented(x.dim() == 2 + SPATIAL and groups > 0, f"a convolution of rank {x.dim()} in {groups} groups")
    _check_steps(strides, dilations)
    return F.conv2d(_padded(x, pad_type, pad, 0.0), weight, bias, list(strides), 0, list(dilations), groups)


def max_pool(
    x: Tensor,
    kernel_sizes: Sequence[int],
    strides: Sequence[int] = (1, 1),
    pad_type: str = "valid",
    pad: Sequence[int] = (0, 0, 0, 0),
    ceil_mode: bool = False,
) -> Tensor:
    implemented(not ceil_mode, "ceil_mode")
    _check_steps(strides, kernel_sizes)
    return F.max_pool2d(_padded(x, pad_type, pad, -torch.inf), list(kernel_sizes), list(strides))


def avg_pool(
    x: Tensor,
    kernel_sizes: Sequence[int],
    strides: Sequence[int] = (1, 1),
    pad_type: str = "valid",
    pad: Sequence[int] = (0, 0, 0, 0),
    exclude_padding_from_average: bool = False,
    ceil_mode: bool = False,
) -> Tensor:
    implemented(not ceil_mode, "ceil_mode")
    implemented(not (exclude_padding_from_average and pad_type == "custom" and any(pad)), "means without their padding")
    _check_steps(strides, kernel_sizes)
    return F.avg_pool2d(_padded(x, pad_type, pad, 0.0), list(kernel_sizes), list(strides))


def _check_steps(*steps: Sequence[int]) -> None:
    for step in steps:
        implemented(len(step) == SPATIAL and min(step) > 0, f"steps or sizes {tuple(step)}")


def _padded(x: Tensor, pad_type: str, pad: Sequence[int], value: float) -> Tensor:
    """`pad` is (top, bottom, left, right) and counts for the type "custom" only, as in MIL."""
    implemented(pad_type in ("valid", "custom"), f"pad_type {pad_type!r}")
    if pad_type == "valid" or not any(pad):
        return x
    implemented(len(pad) == 2 * SPATIAL and min(pad) >= 0, f"pad {tuple(pad)}")
    top, bottom, left, right = pad
    return F.pad(x, (left, right, top, bottom), value=value)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return F.linear(x, weight, bias)


def matmul(x: Tensor, y: Tensor, transpose_x: bool = False, transpose_y: bool = False) -> Tensor:
    left, right = (x.transpose(-1, -2) if transpose_x else x), (y.transpose(-1, -2) if transpose_y else y)
    return left @ right


def upsample_nearest_neighbor(x: Tensor, scale_factor_height: float = 1, scale_factor_width: float = 1) -> Tensor:
    factors = (scale_factor_height, scale_factor_width)
    implemented(all(factor >= 1 and factor == int(factor) for factor in factors), f"scale factors {factors}")
    height, width = (int(factor) for factor in factors)
    sizes = (*x.shape[:-SPATIAL], x.shape[-2], height, x.shape[-1], width)
    spread = x.unsqueeze(-1).unsqueeze(-3).expand(sizes)
    return spread.reshape(*x.shape[:-SPATIAL], x.shape[-2] * height, x.shape[-1] * width)


def concat(values: Sequence[Tensor], axis: int, interleave: bool = False) -> Tensor:
    implemented(not interleave, "interleave")
    return torch.cat(list(values), axis)


def stack(values: Sequence[Tensor], axis: int) -> Tensor:
    return torch.stack(list(values), axis)


def reshape(x: Tensor, shape: Sequence[int]) -> Tensor:
    implemented(0 not in shape, f"the shape {tuple(shape)}")  # MIL's 0 copies an axis
    return x.reshape(list(shape))


def transpose(x: Tensor, perm: Sequence[int]) -> Tensor:
    return x.permute(list(perm))


def expand_dims(x: Tensor, axes: Sequence[int]) -> Tensor:
    rank = x.dim() + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


def squeeze(x: Tensor, axes: Sequence[int] | None = None) -> Tensor:
    chosen = [axis for axis, size in enumerate(x.shape) if size == 1] if axes is None else list(axes)
    implemented(all(x.shape[axis] == 1 for axis in chosen), f"squeezing axes {chosen} of {tuple(x.shape)}")
    return x.squeeze(tuple(chosen)) if chosen else x


def slice_by_index(
    x: Tensor,
    begin: Sequence[int],
    end: Sequence[int],
    stride: Sequence[int] | None = None,
    begin_mask: Sequence[bool] | None = None,
    end_mask: Sequence[bool] | None = None,
    squeeze_mask: Sequence[bool] | None = None,
) -> Tensor:
    """As Python's slices; True in a mask leaves that end open, or takes the element at `begin` and drops the axis."""
    rank = x.dim()
    steps = (1,) * rank if stride is None else tuple(stride)
    open_begin, open_end, drop = (
        (False,) * rank if mask is None else tuple(mask) for mask in (begin_mask, end_mask, squeeze_mask)
    )
    lengths = {len(part) for part in (begin, end, steps, open_begin, open_end, drop)}
    implemented(lengths == {rank} and min(steps) > 0, f"slices of lengths {sorted(lengths)} with strides {steps}")
    places = [
        begin[i] if drop[i] else slice(None if open_begin[i] else begin[i], None if open_end[i] else end[i], steps[i])
        for i in range(rank)
    ]
    return x[tuple(places)]


def reduce_sum(x: Tensor, axes: Sequence[int] | None = None, keep_dims: bool = False) -> Tensor:
    return x.sum(_axes(x, axes), keepdim=keep_dims)


def reduce_mean(x: Tensor, axes: Sequence[int] | None = None, keep_dims: bool = False) -> Tensor:
    return x.mean(_axes(x, axes), keepdim=keep_dims)


def reduce_max(x: Tensor, axes: Sequence[int] | None = None, keep_dims: bool = False) -> Tensor:
    return x.amax(_axes(x, axes), keepdim=keep_dims)


def _axes(x: Tensor, axes: Sequence[int] | None) -> list[int]:
    implemented(axes is None or len(axes) > 0, "no axes at all")
    return list(range(x.dim()) if axes is None else axes)


def softmax(x: Tensor, axis: int = -1) -> Tensor:
    return torch.softmax(x, axis)


def cast(x: Tensor, dtype: str) -> Tensor:
    """Between float types only; the caller rounds."""
    implemented(dtype in ("fp16", "fp32"), f"a cast to {dtype!r}")
    return x


def constexpr_affine_dequantize(
    quantized_data: Tensor, zero_point: Tensor | float, scale: Tensor | float, axis: int
) -> Tensor:
    """(quantized − zero point) · scale; vectors hold one value per slice along `axis`."""
    per_slice = [1] * quantized_data.dim()
    per_slice[axis] = -1
    shift, factor = (part.reshape(per_slice) if isinstance(part, Tensor) else part for part in (zero_point, scale))
    return (quantized_data - shift) * factor


Operand = Tensor | float
OPERATIONS: Final[dict[str, Callable[..., Tensor]]] = {
    function.__name__: function
    for function in (
        avg_pool, cast, concat, constexpr_affine_dequantize, conv, expand_dims, linear, matmul, max_pool, reduce_max,
        reduce_mean,
        reduce_sum, reshape, slice_by_index, softmax, squeeze, stack, transpose, upsample_nearest_neighbor,
    )
}  # fmt: skip


def _pairwise(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    def operation(x: Operand, y: Operand) -> Tensor:
        return function(torch.as_tensor(x), torch.as_tensor(y))

    return operation


def _each(function: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    def operation(x: Tensor) -> Tensor:
        return function(x)

    return operation


OPERATIONS.update(
    add=_pairwise(torch.add),
    sub=_pairwise(torch.sub),
    mul=_pairwise(torch.mul),
    real_div=_pairwise(torch.true_divide),
    pow=_pairwise(torch.pow),
    maximum=_pairwise(torch.maximum),
    minimum=_pairwise(torch.minimum),
    abs=_each(torch.abs),
    relu=_each(torch.relu),
    sigmoid=_each(torch.sigmoid),
    sqrt=_each(torch.sqrt),
    square=_each(torch.square),
)
"""Every kind of operation that `export.mil` evaluates."""
