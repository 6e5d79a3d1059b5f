"""Stages: each takes what it takes without those in it, and nothing where nobody asks."""

from __future__ import annotations

import threading
import time

import pytest

from geoseg.stages import Span, add_span, each, is_recording, recording, stage


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    wall = Clock()
    monkeypatch.setattr(time, "perf_counter", wall)
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    return wall


def test_what_an_inner_stage_takes_is_not_the_outer_ones_own(clock: Clock) -> None:
    cpu = Clock()

    def work(wall: float, computed: float) -> None:
        clock.now += wall
        cpu.now += computed

    def numbers() -> object:
        for number in range(2):
            work(1, 1)
            with stage("inmost") as some:
                some.count(number + 1)
                work(4, 2)
            yield number

    with recording(cpu) as spans, stage("outer"):
        work(10, 5)
        for _ in each("inner", numbers()):  # type: ignore[call-overload]  # a generator is one
            work(100, 50)
        with stage("threads", elsewhere=True):
            work(7, 6)
        add_span("start", cpu=3, wall=4)
    found = {name: [s for s in spans if s.name == name] for name in {s.name for s in spans}}
    assert [s[2:7] for s in found["inmost"]] == [(4, 2, 4, 2, 1), (4, 2, 4, 2, 2)]
    assert [s[2:6] for s in found["inner"]] == [(5, 3, 1, 1), (5, 3, 1, 1), (0, 0, 0, 0)]
    assert [s[2:6] for s in found["threads"]] == [(7, 6, 7, 0)]
    (outer,) = found["outer"]
    assert outer[2:6] == (227, 117, 210, 105)
    assert outer.start == 1000
    assert found["start"][0][1:6] == (1223, 4, 3, 4, 3)
    assert sum(s.own_wall for s in spans if s.name != "start") == outer.wall


def test_a_stage_that_fails_is_recorded_and_a_thread_records_for_itself() -> None:
    other: list[bool] = []
    with recording() as spans:
        with pytest.raises(ValueError, match="no"), stage("failed"):
            raise ValueError("no")
        thread = threading.Thread(target=lambda: other.append(is_recording()))
        thread.start()
        thread.join()
        with recording(time.thread_time) as inner, stage("inner"):
            pass
    assert [s.name for s in spans] == ["failed"]
    assert [s.name for s in inner] == ["inner"]
    assert other == [False]


def test_nothing_is_recorded_where_nobody_asks() -> None:
    assert not is_recording()
    items = [1, 2]
    with stage("some") as some:
        some.count(5)
        add_span("other", cpu=1.0)
        assert list(each("more", items)) == items
    assert stage("one") is stage("other")
    spans: list[Span]
    with recording() as spans:
        pass
    assert spans == []
