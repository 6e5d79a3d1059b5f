"""Deciding clusters of small regions: smallest first, each to the class that the scores speak for."""

from __future__ import annotations

import heapq

import numpy as np

from geoseg.arrays import Bool, Int64
from geoseg.compiled import compiled

__all__ = ["decide"]


@compiled
def decide(
    class_id: Int64,
    pixels: Int64,
    first: Int64,
    evidence: Int64,
    beside: Bool,
    one: Int64,
    other: Int64,
    least: int,
) -> Int64:
    """Classes of small regions in the end.

    Args:
        class_id: their classes, shape (n,).
        pixels: their sizes, all below ``least``.
        first: their first pixels.
        evidence: sums of stored scores over their pixels, shape (n, classes).
        beside: classes of the large regions that they touch, shape (n, classes).
        one: a region of each pair of them that touch, shape (m,).
        other: the other region.
        least: regions of so many pixels are large.

    Returns:
        Class ids, shape (n,).
    """
    n, classes = evidence.shape
    class_id, pixels, first = class_id.copy(), pixels.copy(), first.copy()
    evidence, beside = evidence.copy(), beside.copy()
    of = np.arange(n)
    # Neighbors as linked lists, two links a pair: joining two lists is one step.
    head, tail = np.full(n, -1), np.full(n, -1)
    following = np.full(2 * one.size, -1)
    for link in range(2 * one.size):
        owner = one[link // 2] if link % 2 else other[link // 2]
        if head[owner] < 0:
            head[owner] = link
        else:
            following[tail[owner]] = link
        tail[owner] = link

    waiting = [(pixels[r], first[r], r) for r in range(n)]
    heapq.heapify(waiting)
    while len(waiting) > 0:
        size, _, region = heapq.heappop(waiting)
        if of[region] != region or pixels[region] != size:
            continue  # it has grown since
        candidates = beside[region].copy()
        link = head[region]
        while link >= 0:
            candidates[class_id[_root(of, one[link // 2] if link % 2 == 0 else other[link // 2])]] = True
            link = following[link]
        candidates[class_id[region]] = False
        best = -1
        for c in range(classes):
            if candidates[c] and (best < 0 or evidence[region, c] > evidence[region, best]):
                best = c
        if best < 0:
            continue  # an island, small as a whole
        class_id[region] = best
        if beside[region, best]:
            pixels[region] += least
        last = tail[region]  # behind it come the lists of those that join
        link = head[region]
        while link >= 0:
            joins = _root(of, one[link // 2] if link % 2 == 0 else other[link // 2])
            if joins != region and class_id[joins] == best:
                of[joins] = region
                pixels[region] += pixels[joins]
                first[region] = min(first[region], first[joins])
                evidence[region] += evidence[joins]
                beside[region] |= beside[joins]
                following[tail[region]], tail[region] = head[joins], tail[joins]
            if link == last:
                break
            link = following[link]
        if pixels[region] < least:
            heapq.heappush(waiting, (pixels[region], first[region], region))
    for r in range(n):
        class_id[r] = class_id[_root(of, r)]
    return class_id


@compiled
def _root(of: Int64, region: int) -> int:
    """The region that a region has become part of."""
    while of[region] != region:
        of[region] = of[of[region]]
        region = of[region]
    return region
