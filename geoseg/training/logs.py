"""The log of a training: every event as a line of JSON, validations as CSV, curves for TensorBoard.

A log and its checkpoint agree: what a killed training logged after its last checkpoint is dropped when the
training resumes from there, since those steps are done again.
"""

from __future__ import annotations

import csv
import json
import shutil
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from geoseg.io.files import write_text
from geoseg.training.events import Event, Notice, Stepped, TrainingEnded, TrainingStarted, Validated

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self, TextIO

    from torch.utils.tensorboard import SummaryWriter

__all__ = ["CSV_NAME", "TENSORBOARD_NAME", "TrainingLog", "read_log"]

JSON_NAME = "log.jsonl"
"""Every event but checkpoints, one JSON object a line, ``event`` being its kind."""
CSV_NAME = "log.csv"  # one row per validation
TENSORBOARD_NAME = "tensorboard"

_NAMES = {
    TrainingStarted: "started",
    Stepped: "step",
    Validated: "validated",
    Notice: "notice",
    TrainingEnded: "ended",
}


class TrainingLog:
    """Writes the log of one training; a watcher of its events, and a context manager."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._lines: TextIO | None = None
        self._board: SummaryWriter | None = None
        self._rows: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write out and close all files."""
        if self._lines is not None:
            self._lines.close()
        if self._board is not None:
            self._board.close()
        self._lines, self._board = None, None

    def __call__(self, event: Event) -> None:
        """Log an event; those before ``TrainingStarted`` and checkpoints are not logged."""
        if isinstance(event, TrainingStarted):
            self._start(event.step)
        if self._lines is None or self._board is None:
            return
        if name := _NAMES.get(type(event)):
            entry = {"event": name, "time": round(time.time(), 3), **asdict(event)}
            self._lines.write(f"{json.dumps(entry)}\n")
            self._show(entry)
        if isinstance(event, Validated):
            self._table()

    def _start(self, step: int) -> None:
        """Drop what a killed training logged after the step that it resumes from.

        The lines of JSON are the truth: they are written one by one, the rest is made from them.
        """
        self.close()
        kept = [entry for entry in read_log(self._folder) if entry["step"] <= step] if step else []
        path = self._folder / JSON_NAME
        write_text(path, "".join(f"{json.dumps(entry)}\n" for entry in kept))
        self._lines = path.open("a", buffering=1, encoding="utf-8")
        board = self._folder / TENSORBOARD_NAME
        if board.exists():
            shutil.rmtree(board)
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - of the extra `train`

        self._board = SummaryWriter(str(board))
        self._rows = []
        for entry in kept:
            self._show(entry)
        self._table()

    def _show(self, entry: dict[str, Any]) -> None:
        """Curves for TensorBoard, and the table's next row."""
        match entry["event"]:
            case "step":
                self._scalars(entry, {"train/loss": entry["loss"], "train/rate": entry["rate"]})
            case "validated":
                self._rows.append(_row(entry))
                values = {
                    f"iou/{place}/{index}": value
                    for place, iou in entry["iou"].items()
                    for index, value in enumerate(iou)
                    if value is not None
                }
                values |= {"validation/score": entry["score"], "validation/loss": entry["validation_loss"]}
                self._scalars(entry, values)
            case "notice":
                assert self._board is not None
                self._board.add_text("notice", entry["text"], entry["step"], entry["time"])

    def _scalars(self, entry: dict[str, Any], values: dict[str, float]) -> None:
        assert self._board is not None
        for key, value in values.items():
            self._board.add_scalar(key, value, entry["step"], entry["time"])

    def _table(self) -> None:
        if not self._rows:
            return
        path = self._folder / CSV_NAME
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(self._rows[0]))
            writer.writeheader()
            writer.writerows(self._rows)


def _row(entry: dict[str, Any]) -> dict[str, Any]:
    """A validation as a flat row."""
    row = {key: entry[key] for key in ("step", "epoch", "rate", "loss", "validation_loss", "score", "kept")}
    for place, iou in sorted(entry["iou"].items()):
        row |= {f"{place}/{index}": value for index, value in enumerate(iou)}
    return row


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The events that a training logged, oldest first; empty where there is no log.

    A last line that was cut off by a kill is left out.
    """
    path = folder / JSON_NAME
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]
