"""What a training keeps of its scenes in memory: tiles up to a limit, and a few open files."""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

from geoseg.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Callable

    from geoseg.io.labels.reader import LabelReader
    from geoseg.io.raster.scene_reader import SceneReader
    from geoseg.training.data.scenes import Patch

__all__ = ["OpenScene", "SceneCache"]

_OPEN_SCENES = 16  # whose files stay open: an archive may have more than a process may open files


class OpenScene(NamedTuple):
    """The readers of one scene, on the same grid."""

    pixels: SceneReader
    labels: LabelReader


class SceneCache:
    """Tiles of any number of scenes, the longest unused of them dropped first; one per process.

    ``bytes`` never exceeds ``limit``: a small set is read once and stays, of an archive the tiles read last
    stay. What comes beside it is one tile that is being read, and what the caller cuts out of tiles.

    A copy that travels to another process is empty and opens files of its own. Threads may share a cache.

    Raises:
        RunError: a negative limit.
    """

    def __init__(self, limit: int) -> None:
        if limit < 0:
            raise RunError(f"a cache of {limit} bytes: give 0 or more")
        self.limit = limit
        self.bytes = 0
        self.reads = 0
        """Tiles read from files so far."""
        self._tiles: OrderedDict[tuple[Any, ...], tuple[Patch, int]] = OrderedDict()
        self._open: OrderedDict[str, OpenScene] = OrderedDict()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[SceneCache], tuple[int]]:
        return SceneCache, (self.limit,)

    def tile(self, key: tuple[Any, ...], read: Callable[[], Patch]) -> Patch:
        """The tile of a key, read now or kept from before."""
        with self._lock:
            kept = self._tiles.get(key)
            if kept is not None:
                self._tiles.move_to_end(key)
                return kept[0]
        # Outside the lock, so that threads read at once; two may read the same tile, which is only slower.
        tile = read()
        size = sum(part.nbytes for part in tile)
        with self._lock:
            self.reads += 1
            if key not in self._tiles and size <= self.limit:
                while self.bytes + size > self.limit:
                    _, (_, freed) = self._tiles.popitem(last=False)
                    self.bytes -= freed
                self._tiles[key] = (tile, size)
                self.bytes += size
        return tile

    def scene(self, key: str, opened: Callable[[], OpenScene]) -> OpenScene:
        """The readers of a scene, made now or kept from before."""
        with self._lock:
            if key not in self._open:
                while len(self._open) >= _OPEN_SCENES:
                    _, (pixels, _) = self._open.popitem(last=False)
                    pixels.close()  # a thread that still reads there opens it again
                self._open[key] = opened()
            self._open.move_to_end(key)
            return self._open[key]

    def close(self) -> None:
        """Close all files and forget all tiles; both come back when they are asked for."""
        with self._lock, ExitStack() as files:
            for scene in self._open.values():
                files.callback(scene.pixels.close)
            self._open.clear()
            self._tiles.clear()
            self.bytes = 0
