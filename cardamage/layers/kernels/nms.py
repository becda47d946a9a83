"""Greedy suppression of many groups of boxes in two launches on a GPU, written in Triton.

The first kernel compares the boxes of a group, each with those after it, and packs what overlaps too much in
words of 32 bits. The second walks down a group, 32 boxes at a time: which of these stay is settled on 32 x 32
bits, then what they suppress is struck off at once.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl

__all__ = ["launch_greedy_keep"]

_BITS = 32
_COLUMNS = 128
# Bytes of overlap bits held at a time.
_MAX_BYTES = 2**28


@triton.jit
def _or(a, b):
    return a | b


@triton.jit(do_not_specialize=["size", "words"])
def _overlap_bits(boxes, lengths, bits, size, words, threshold, CENTRES: tl.constexpr, COLUMNS: tl.constexpr):
    """Set bit b of word w in row i of a group where box 32 w + b comes after box i and overlaps it."""
    group = tl.program_id(0).to(tl.int64)
    length = tl.load(lengths + group)
    first_row = tl.program_id(1) * 32
    first_column = tl.program_id(2) * COLUMNS
    if (first_row < length) & (first_column < length) & (first_column + COLUMNS > first_row):
        row = first_row + tl.arange(0, 32)
        column = first_column + tl.arange(0, COLUMNS)
        a = boxes + (group * size + row) * 4
        b = boxes + (group * size + column) * 4
        ax0 = tl.load(a, mask=row < size, other=0.0)
        ay0 = tl.load(a + 1, mask=row < size, other=0.0)
        ax1 = tl.load(a + 2, mask=row < size, other=0.0)
        ay1 = tl.load(a + 3, mask=row < size, other=0.0)
        bx0 = tl.load(b, mask=column < size, other=0.0)
        by0 = tl.load(b + 1, mask=column < size, other=0.0)
        bx1 = tl.load(b + 2, mask=column < size, other=0.0)
        by1 = tl.load(b + 3, mask=column < size, other=0.0)
        width = tl.minimum(ax1[:, None], bx1[None, :]) - tl.maximum(ax0[:, None], bx0[None, :])
        height = tl.minimum(ay1[:, None], by1[None, :]) - tl.maximum(ay0[:, None], by0[None, :])
        common = tl.maximum(width, 0.0) * tl.maximum(height, 0.0)
        a_area = (ax1 - ax0) * (ay1 - ay0)
        b_area = (bx1 - bx0) * (by1 - by0)
        iou = tl.math.div_rn(common, a_area[:, None] + b_area[None, :] - common)
        if CENTRES:
            across = tl.maximum(ax1[:, None], bx1[None, :]) - tl.minimum(ax0[:, None], bx0[None, :])
            down = tl.maximum(ay1[:, None], by1[None, :]) - tl.minimum(ay0[:, None], by0[None, :])
            diagonal = across * across + down * down
            right = (ax0 + ax1)[:, None] - (bx0 + bx1)[None, :]
            below = (ay0 + ay1)[:, None] - (by0 + by1)[None, :]
            iou -= tl.math.div_rn((right * right + below * below) * 0.25, diagonal)
        over = (iou > threshold) & (column[None, :] > row[:, None])
        lanes = tl.reshape(over.to(tl.int32), (32, COLUMNS // 32, 32))
        packed = tl.sum(lanes << tl.arange(0, 32)[None, None, :], axis=2)
        word = first_column // 32 + tl.arange(0, COLUMNS // 32)
        place = bits + (group * size + row)[:, None] * words + word[None, :]
        tl.store(place, packed, mask=(row < size)[:, None] & (word < words)[None, :])


@triton.jit(do_not_specialize=["size", "words"])
def _walk(bits, alive, lengths, keep, size, words, WORDS: tl.constexpr):
    """Mark the boxes of a group that stay; those from its length on are left as they are."""
    group = tl.program_id(0).to(tl.int64)
    length = tl.load(lengths + group)
    word = tl.arange(0, WORDS)
    lane = tl.arange(0, 32)
    gone = tl.zeros((WORDS,), dtype=tl.int32)
    for block in range(0, (length + 31) // 32):
        row = block * 32 + lane
        live = tl.load(alive + group * size + row, mask=row < size, other=0).to(tl.int32)
        left = tl.sum(live << lane, axis=0) & ~tl.sum(tl.where(word == block, gone, 0), axis=0)
        diagonal = bits + (group * size + block * 32) * words + block
        for place in tl.static_range(32):
            # A row's bits are only of later boxes, and loading them does not wait for what is decided here.
            struck = tl.load(diagonal + place * words, mask=block * 32 + place < size, other=0)
            left = left & ~tl.where((left >> place) & 1 != 0, struck, 0)
        stays = (left >> lane) & 1
        tl.store(keep + group * size + row, stays.to(tl.int8), mask=row < size)
        used = ((stays != 0) & (row < size))[:, None] & ((word > block) & (word < words))[None, :]
        rows = tl.load(bits + (group * size + row)[:, None] * words + word[None, :], mask=used, other=0)
        gone = gone | tl.reduce(rows, 0, _or)


def launch_greedy_keep(
    boxes: torch.Tensor, alive: torch.Tensor, threshold: float, centres: bool = False
) -> torch.Tensor:
    """Run :func:`cardamage.layers.suppression.greedy_keep` on a GPU; the host does not wait.

    Args:
        boxes: (G, K, 4) float32, contiguous; K at most 16384.
        alive: (G, K) bool, contiguous.
        threshold: a value of float32.
        centres: compare the overlap less the distance of the centres.

    Returns:
        bool (G, K).
    """
    groups, size = alive.shape
    keep = torch.zeros(groups, size, dtype=torch.int8, device=boxes.device)
    places = torch.arange(1, size + 1, dtype=torch.int32, device=boxes.device)
    lengths = (places * alive).amax(dim=1)
    words = math.ceil(size / _BITS)
    padded_words = triton.next_power_of_2(max(words, _BITS))
    step = max(1, _MAX_BYTES // (size * words * 4))
    bits = torch.empty(min(step, groups), size, words, dtype=torch.int32, device=boxes.device)
    # Without fused multiplications and with a division that rounds: torchvision's numbers.
    exact = {"enable_fp_fusion": False}
    with torch.cuda.device_of(boxes):
        for start in range(0, groups, step):
            part = slice(start, start + step)
            count = len(alive[part])
            grid = (count, words, math.ceil(size / _COLUMNS))
            given = (boxes[part], lengths[part], bits, size, words, threshold)
            _overlap_bits[grid](*given, centres, _COLUMNS, **exact)
            _walk[(count,)](
                bits,
                alive[part].view(torch.int8),
                lengths[part],
                keep[part],
                size,
                words,
                padded_words,
                num_warps=max(1, min(8, padded_words // 64)),
                **exact,
            )
    return keep.view(torch.bool)
