"""Connected components are scipy's, to the number of each."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from geoseg.polygons.trace.runs import group


@given(st.integers(1, 40), st.data())
def test_components_are_those_of_scipy(nodes: int, data: st.DataObject) -> None:
    node = st.integers(0, nodes - 1)
    edges = np.array(data.draw(st.lists(st.tuples(node, node), max_size=60)), np.int64).reshape(-1, 2)
    count, number = group(nodes, edges[:, 0].copy(), edges[:, 1].copy())
    graph = coo_array((np.ones(len(edges)), edges.T), shape=(nodes, nodes))
    expected = connected_components(graph, directed=False)
    assert (count, number.tolist()) == (expected[0], expected[1].tolist())
    assert number.dtype == np.int64


def test_no_nodes_have_no_components() -> None:
    nothing = np.zeros(0, np.int64)
    count, number = group(0, nothing, nothing)
    assert (count, number.size) == (0, 0)
