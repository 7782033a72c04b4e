"""The graph's weights are what their papers say, exact and order-free; the head is ridge regression."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from scipy import sparse

from pinembed.taste import graph
from pinembed.taste.arms import HEAD_RIDGE, Head
from pinembed.taste.features import BIAS, ItemFeatures, column_block
from pinembed.taste.graph import POPULAR_END, RIDGE, by_cosine, co_engagement, ease

RNG = np.random.default_rng(0)
STRENGTH_UI = sparse.csr_array(RNG.choice([0, 0, 0, 0.5, 1], (60, 12)))


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
    assert dense(co_engagement(STRENGTH_UI, most_exact=3), 12) == pytest.approx(wanted_II, abs=1e-6)


def test_a_graph_counted_some_rows_at_a_time_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = co_engagement(STRENGTH_UI, most_exact=3), by_cosine(STRENGTH_UI)
    monkeypatch.setattr(graph, "ROWS_AT_ONCE", 5)
    for found, wanted in zip((co_engagement(STRENGTH_UI, most_exact=3), by_cosine(STRENGTH_UI)), whole, strict=True):
        assert (dense(found, 12) == dense(wanted, 12)).all()


def test_only_the_strongest_neighbours_of_items_with_enough_users_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "NEIGHBOURS", 3)
    few = sparse.csr_array(np.eye(60)[:, :1] + np.zeros((60, 1)))  # an item of one user
    found = co_engagement(sparse.hstack([STRENGTH_UI, few], format="csr"))
    assert found.items.tolist() == list(range(12))
    assert np.diff(found.start_N).max() == 3


def test_boards_join_items_by_cosine() -> None:
    member_BI = sparse.csr_array(np.array([[1, 1, 0], [1, 0, 0], [0, 1, 1]]))
    weight_II = dense(by_cosine(member_BI), 3)
    assert weight_II == pytest.approx(np.array([[0, 0.5, 0], [0.5, 0, 0.7071], [0, 0.7071, 0]]), abs=1e-4)


def test_no_events_make_an_empty_graph() -> None:
    found = co_engagement(sparse.csr_array((3, 4)))
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
