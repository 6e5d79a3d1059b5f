"""Errors: the scene is named once, and survives the way from a worker."""

from __future__ import annotations

import pickle

import pytest

from geoseg.errors import GeosegError, OutputError, RunError, SceneError, of_scene


def raised(error: Exception, *scenes: str) -> Exception:
    """The error as it leaves a block for each scene, the first one innermost."""
    for scene in scenes:
        try:
            with of_scene(scene):
                raise error
        except GeosegError as found:
            error = found
    return error


@pytest.mark.parametrize(
    ("error", "scenes", "message"),
    [
        (SceneError("4 bands, needed 3"), ["a"], "scene a: 4 bands, needed 3"),
        (OutputError("the disk is full"), ["a", "a"], "scene a: the disk is full"),
        (SceneError("4 bands, needed 3"), ["inner", "outer"], "scene inner: 4 bands, needed 3"),
        (SceneError("has no band nir", scene="a"), ["b"], "scene a: has no band nir"),
        (RunError("the scheduler is gone"), ["a"], "the scheduler is gone"),
    ],
)
def test_the_scene_is_named_once(error: Exception, scenes: list[str], message: str) -> None:
    found = raised(error, *scenes)
    assert found is error
    assert str(found) == message


def test_the_scene_of_an_error_comes_back_from_a_worker() -> None:
    found = pickle.loads(pickle.dumps(raised(SceneError("no pixel has data"), "a")))  # noqa: S301 - our own
    assert (type(found), found.scene, str(found)) == (SceneError, "a", "scene a: no pixel has data")
