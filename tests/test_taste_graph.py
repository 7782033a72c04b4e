"""The graph's weights are what their papers say, exact and order-free; the head is ridge regression."""

from __future__ import annotations

import functools
import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from scipy import sparse

from pinembed.taste import graph, pairs, scratch
from pinembed.taste.arms import HEAD_RIDGE, Head
from pinembed.taste.edge_table import edges_of
from pinembed.taste.engagement import engagement_of
from pinembed.taste.event import DAY_US
from pinembed.taste.features import BIAS, ItemFeatures, column_block
from pinembed.taste.graph import POPULAR_END, RIDGE, by_cosine, co_engagement, ease
from pinembed.taste.pairs import Pairs
from pinembed.taste.user_table import TOUCHED_TYPE

RNG = np.random.default_rng(0)
STRENGTH_UI = sparse.csr_array(RNG.choice([0, 0, 0, 0.5, 1], (60, 12)))


LATEST_US = 400 * DAY_US


def histories(*, users: int, items: int) -> pa.Table:
    """The column `touched` of users with twenty items each."""
    rng = np.random.default_rng(0)
    item_UE = np.argsort(rng.random((users, items)), axis=1)[:, :20]
    entries = [
        pa.array([f"i{item:02}" for item in item_UE.ravel().tolist()]),
        pa.array(rng.choice([-1, 0.25, 0.5, 1.0], item_UE.size)),
        pa.array(np.sort(rng.integers(LATEST_US, size=item_UE.shape)).ravel()),
        pa.array(np.ones(item_UE.size, np.int64)),
        pa.array(rng.choice(["", "red", "blue"], item_UE.size).tolist()),
    ]
    touched = pa.StructArray.from_arrays(entries, fields=list(TOUCHED_TYPE))
    return pa.table({"touched": pa.ListArray.from_arrays(np.arange(0, 20 * users + 1, 20, dtype=np.int32), touched)})


def dense(found: graph.Neighbours, items: int) -> np.ndarray:
    weight_II = np.zeros((items, items))
    for index, item in enumerate(found.items.tolist()):
        neighbours, weights = found.of(index)
        weight_II[neighbours, item] = weights
    return weight_II


def test_ease_is_the_ridge_regression_of_each_item_on_the_others() -> None:
    strength_UI = STRENGTH_UI.toarray()
    ridge = RIDGE * np.sqrt((strength_UI > 0).sum(axis=0).mean())
    weight_II = ease(STRENGTH_UI)
    for item in range(12):
        others = [other for other in range(12) if other != item]
        x_UO = strength_UI[:, others]
        wanted_O = np.linalg.solve(x_UO.T @ x_UO + ridge * np.eye(11), x_UO.T @ strength_UI[:, item])
        assert weight_II[others, item] == pytest.approx(wanted_O, abs=1e-5)
    assert (np.diag(weight_II) == 0).all()


def test_many_items_are_left_to_a_random_walk_that_holds_popular_ends_down() -> None:
    strength_UI = STRENGTH_UI.toarray()
    users_I = (strength_UI > 0).sum(axis=0)
    to_items_UI = strength_UI / np.maximum(strength_UI.sum(axis=1, keepdims=True), 1)
    wanted_II = (strength_UI / users_I).T @ to_items_UI / users_I**POPULAR_END
    np.fill_diagonal(wanted_II, 0)
    assert dense(co_engagement(Pairs(STRENGTH_UI), most_exact=3), 12) == pytest.approx(wanted_II, abs=1e-6)


def test_a_graph_counted_some_rows_at_a_time_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = co_engagement(Pairs(STRENGTH_UI), most_exact=3), by_cosine(Pairs(STRENGTH_UI))
    monkeypatch.setattr(pairs, "CELLS_AT_ONCE", 60)
    monkeypatch.setattr(scratch, "VALUES_AT_ONCE", 7)
    parts = co_engagement(Pairs(STRENGTH_UI), most_exact=3), by_cosine(Pairs(STRENGTH_UI))
    for found, wanted in zip(parts, whole, strict=True):
        assert (dense(found, 12) == dense(wanted, 12)).all()


def test_only_the_strongest_neighbours_of_items_with_enough_users_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "NEIGHBOURS", 3)
    few = sparse.csr_array(np.eye(60)[:, :1] + np.zeros((60, 1)))  # an item of one user
    found = co_engagement(Pairs(sparse.hstack([STRENGTH_UI, few], format="csr")))
    assert found.items.tolist() == list(range(12))
    assert np.diff(found.start_N).max() == 3


def test_boards_join_items_by_cosine() -> None:
    member_BI = sparse.csr_array(np.array([[1, 1, 0], [1, 0, 0], [0, 1, 1]]))
    weight_II = dense(by_cosine(Pairs(member_BI)), 3)
    assert weight_II == pytest.approx(np.array([[0, 0.5, 0], [0.5, 0, 0.7071], [0, 0.7071, 0]]), abs=1e-4)


def test_no_events_make_an_empty_graph() -> None:
    found = co_engagement(Pairs(sparse.csr_array((3, 4))))
    assert len(found.items) == len(found.neighbour) == 0


def test_head_is_kernel_ridge_regression_on_likeness() -> None:
    dense_ND = RNG.standard_normal((20, 6)).astype(np.float32)
    dense_ND /= np.linalg.norm(dense_ND, axis=1, keepdims=True)
    words_NT = sparse.csr_array(np.eye(20, 4, dtype=np.float32)[RNG.permutation(20)])
    features = ItemFeatures(dense_ND=dense_ND, sparse_NT=words_NT, blocks=2)
    anchors, rows = np.array([1, 3, 4, 8, 9, 15]), np.array([3, 9])
    kernel_NN = (dense_ND @ dense_ND.T + (words_NT @ words_NT.T).toarray()) / 2 + BIAS
    voice_A = np.array([0, 1, 0, 0, 0.5, 0])
    say_A = np.linalg.solve(kernel_NN[np.ix_(anchors, anchors)] + HEAD_RIDGE * np.eye(6), voice_A)
    found_N = Head(features, anchors).scores(rows, np.array([1, 0.5], np.float32))
    assert found_N == pytest.approx(kernel_NN[:, anchors] @ say_A, abs=1e-5)


def test_numbers_become_nested_bins_and_equal_values_one_place() -> None:
    values = [*range(1, 11), 5, None]
    block = column_block(pa.chunked_array([values]))
    assert block is not None
    likeness_NN = (block @ block.T).toarray()
    assert likeness_NN[4, 10] == pytest.approx(1)
    assert likeness_NN[0, 1] > 0 == likeness_NN[0, 9]
    assert likeness_NN[11].max() == 0
    written = column_block(pa.chunked_array([[None if value is None else str(value) for value in values]]))
    assert written is not None
    assert (written @ written.T).toarray() == pytest.approx(likeness_NN)


def test_words_of_three_items_or_more_make_likeness_and_a_column_of_one_value_none() -> None:
    block = column_block(
        pa.chunked_array([["red mug", "red cup", "red jar", "blue mug", "blue cup", "blue mug", "odd"]])
    )
    assert block is not None
    likeness_NN = (block @ block.T).toarray()
    assert likeness_NN[3, 5] == pytest.approx(1)
    assert likeness_NN[0, 1] > 0 == likeness_NN[0, 6]
    assert column_block(pa.chunked_array([["same"] * 5])) is None
    assert column_block(pa.chunked_array([[7] * 5])) is None


def test_a_graph_is_the_same_however_histories_are_read() -> None:
    rows = histories(users=90, items=30)
    wanted = edges_of(engagement_of(rows.to_batches(), LATEST_US))
    order = np.random.default_rng(1).permutation(len(rows))
    batches = rows.take(pa.array(order)).to_batches(max_chunksize=7)
    assert edges_of(engagement_of(batches, LATEST_US)) == wanted
    assert pc.sum(wanted["chosen"]).as_py() > 800
    assert pc.sum(pc.list_value_length(wanted["board_neighbours"])).as_py() > 100


@pytest.mark.parametrize("most_exact", [1000, 0], ids=["EASE", "walk"])
def test_memory_of_a_graph_does_not_grow_with_the_log(most_exact: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "VALUES_AT_ONCE", 5000)
    monkeypatch.setattr(pairs, "ENTRIES_AT_ONCE", 5000)
    count_edges = functools.partial(co_engagement, most_exact=most_exact)
    peaks_mb = []
    for users in (500, 8000):
        batches = histories(users=users, items=60).to_batches(max_chunksize=500)
        tracemalloc.start()
        edges_of(engagement_of(batches, LATEST_US), count_edges=count_edges)
        peaks_mb.append(tracemalloc.get_traced_memory()[1] / 1e6)
        tracemalloc.stop()
    assert peaks_mb[1] < peaks_mb[0] + 1, "16 times the users; each has 20 items, which once took 200 bytes each"
