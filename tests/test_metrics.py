"""Ranking figures against slow references and scikit-learn."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import average_precision_score
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor
from torch.nn import functional as F

from pinembed.metrics.compression import measure_storage_formats
from pinembed.metrics.intervals import RESAMPLES, drawn_units, estimate, mean_map_error, retrieval_scores
from pinembed.metrics.probes import effective_rank
from pinembed.metrics.relevance import (
    groups_of_texts,
    positives,
    relevant_images_of_images,
    relevant_images_of_texts,
    relevant_texts_of_images,
)
from pinembed.metrics.retrieval import SCORE_STEP, QueryScores, score_queries
from pinembed.metrics.split_metrics import (
    SplitEmbeddings,
    SplitScores,
    knn_is_correct,
    measure_split,
    zero_shot_is_correct,
)
from pinembed.metrics.verdict import paired_change
from pinembed.nouns.scores import METRICS


def unit(*shape: int, seed: int = 0) -> Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=1)


def random_right_answers(queries: int, gallery: int, seed: int = 1) -> Tensor:
    right = torch.rand(queries, gallery, generator=torch.Generator().manual_seed(seed)) < 0.2
    right[:, 0] = True
    return right


def slow_figures(scores: list[float], right: list[bool]) -> list[float]:
    """The definitions in words: a positive's precision counts everything that scores at least as high."""
    precisions = []
    best = max(score for score, is_right in zip(scores, right, strict=True) if is_right)
    rank = 1 + sum(score >= best and not is_right for score, is_right in zip(scores, right, strict=True))
    for score, is_right in zip(scores, right, strict=True):
        if is_right:
            above = [other_right for other, other_right in zip(scores, right, strict=True) if other >= score]
            precisions.append(sum(above) / len(above))
    return [*(float(rank <= k) for k in (1, 5, 10)), 1 / rank, sum(precisions) / len(precisions)]


@pytest.mark.parametrize("copies", [1, 3], ids=["distinct scores", "equal scores"])
def test_figures_of_a_query_equal_the_slow_definition_and_scikit_learn(copies: int) -> None:
    query_QD, gallery_GD = unit(7, 8), unit(20, 8, seed=3).repeat(copies, 1)
    right_QG = random_right_answers(7, len(gallery_GD))

    found = score_queries(query_QD, gallery_GD, lambda start, stop: right_QG[start:stop], torch.arange(len(query_QD)))

    scores_QG = torch.round(query_QD @ gallery_GD.T / SCORE_STEP)
    for index in range(7):
        slow = slow_figures(scores_QG[index].tolist(), right_QG[index].tolist())
        assert found.values_QM[index].tolist() == pytest.approx(slow)
        assert slow[-1] == pytest.approx(average_precision_score(right_QG[index], scores_QG[index]))


def test_figures_do_not_depend_on_the_size_of_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    query_QD, gallery_GD, right_QG = unit(9, 8), unit(15, 8, seed=3), random_right_answers(9, 15)
    whole = score_queries(query_QD, gallery_GD, lambda start, stop: right_QG[start:stop], torch.arange(len(query_QD)))
    monkeypatch.setattr("pinembed.metrics.retrieval.BLOCK_SCORES", 30)
    blocks = score_queries(query_QD, gallery_GD, lambda start, stop: right_QG[start:stop], torch.arange(len(query_QD)))
    assert torch.equal(whole.values_QM, blocks.values_QM)


def test_an_encoder_that_gives_one_vector_to_everything_earns_nothing_from_the_order_of_the_files() -> None:
    same_ND = unit(1, 8).repeat(12, 1)
    group_N = torch.arange(12) // 3  # groups lie side by side, as sorted file names do
    split = SplitEmbeddings(image_ND=same_ND, text_TD=same_ND[:4], text_of_N=group_N, group_of_N=group_N)
    scores = measure_split(split)
    assert scores.image_to_image.mean("recall@1") == 0
    assert scores.image_to_image.mean("map") == pytest.approx(2 / 11)
    assert scores.text_to_image.mean("map") == pytest.approx(3 / 12)


def test_an_image_does_not_find_itself_and_the_gallery_counts_the_others() -> None:
    image_ND = torch.eye(4)
    split = SplitEmbeddings(
        image_ND=image_ND,
        text_TD=torch.eye(4)[:2],
        text_of_N=torch.tensor([0, 0, 1, 1]),
        group_of_N=torch.tensor([0, 0, 1, 1]),
    )
    scores = measure_split(split)
    assert scores.image_to_image.gallery == 3
    assert scores.image_to_image.mean("recall@1") == 0


def test_every_item_of_the_group_counts_as_right_and_so_does_an_equal_text() -> None:
    # items 0 and 1 share a group, 1 and 2 a text, 3 stands alone without text
    split = SplitEmbeddings(
        image_ND=unit(4, 8),
        text_TD=unit(2, 8, seed=5),
        text_of_N=torch.tensor([0, 1, 1, -1]),
        group_of_N=torch.tensor([0, 0, 1, 2]),
    )
    scores = measure_split(split)
    assert scores.text_to_image.queries == 2
    assert scores.image_to_text.queries == 3
    assert scores.image_to_image.queries == 3


def test_training_figures_and_items_hold_the_same_for_positives() -> None:
    group, text = [7, 7, 3, 9, 3, 8], [0, 1, 1, -1, -1, 2]
    images, texts = range(6), range(3)
    pairs_NN = [[group[i] == group[j] or text[i] == text[j] >= 0 for j in images] for i in images]
    owners_NT = [[any(group[i] == group[j] and text[j] == t for j in images) for t in texts] for i in images]

    group_N, text_N = torch.tensor(group), torch.tensor(text)
    assert positives(group_N, text_N, group_N, text_N).tolist() == pairs_NN
    assert relevant_images_of_images(group_N, text_N)(2, 5).tolist() == pairs_NN[2:5]
    assert relevant_texts_of_images(group_N, text_N, 3)(1, 6).tolist() == owners_NT[1:6]
    assert relevant_images_of_texts(group_N, text_N, 3)(0, 2).T.tolist() == [row[:2] for row in owners_NT]
    found = groups_of_texts(group_N, text_N, 4).tolist()
    assert [found[0], *found[2:]] == [7, 8, -1]
    assert found[1] in {7, 3}


def test_a_direction_without_right_answers_has_no_figures() -> None:
    alone_N = torch.arange(5)
    split = SplitEmbeddings(image_ND=unit(5, 8), text_TD=unit(5, 8, seed=2), text_of_N=alone_N, group_of_N=alone_N)
    scores = measure_split(split)
    assert retrieval_scores(scores.image_to_image) is None
    assert scores.mean_map == pytest.approx((scores.text_to_image.mean("map") + scores.image_to_text.mean("map")) / 2)


def test_nearest_neighbours_vote_as_scikit_learn_does() -> None:
    image_ND, labelled_MD = unit(60, 4), unit(80, 4, seed=9)
    group_N = torch.randint(6, (60,), generator=torch.Generator().manual_seed(1))
    group_M = torch.randint(6, (80,), generator=torch.Generator().manual_seed(2))
    right_N = knn_is_correct(image_ND, group_N, labelled_MD, group_M)
    slow = KNeighborsClassifier(5, algorithm="brute").fit(labelled_MD.numpy(), group_M.numpy())
    assert right_N.tolist() == (slow.predict(image_ND.numpy()) == group_N.numpy()).tolist()


def test_a_name_is_right_where_no_other_name_is_nearer() -> None:
    class_CD = torch.eye(3)
    image_ND = F.normalize(torch.tensor([[1.0, 0.1, 0], [0, 0.2, 1.0], [0.9, 1.0, 0]]), dim=1)
    assert zero_shot_is_correct(image_ND, torch.tensor([0, 1, 1]), class_CD).tolist() == [True, False, True]


def test_an_interval_is_seeded_and_holds_the_mean_and_narrows_with_queries() -> None:
    rng = np.random.default_rng(0)
    few, many = torch.tensor(rng.random((20, 1))), torch.tensor(rng.random((2000, 1)))
    (small,), (large,) = estimate(few), estimate(many)
    assert estimate(few) == (small,)
    assert small.low < small.value < small.high
    assert large.high - large.low < (small.high - small.low) / 5
    # normal theory: 1.96 standard errors each side
    assert (large.high - large.low) / 2 == pytest.approx(1.96 * float(many.std()) / 2000**0.5, rel=0.1)


def test_queries_of_one_group_are_drawn_together_for_figures_as_for_verdicts() -> None:
    rng = np.random.default_rng(0)
    group_Q = torch.arange(400) // 20  # twenty products with twenty views, of which all do alike
    values_Q1 = torch.tensor(rng.random(20))[group_Q][:, None]
    scores = QueryScores(
        values_QM=values_Q1.repeat(1, len(METRICS)), cluster_Q=group_Q, index_Q=torch.arange(400), gallery=10
    )
    nothing = dataclasses.replace(scores, values_QM=0 * scores.values_QM)
    (by_query,), by_group = estimate(values_Q1), retrieval_scores(scores)
    assert by_group is not None
    assert by_group.map.high - by_group.map.low > 3 * (by_query.high - by_query.low)
    (once_each,) = estimate(values_Q1[::20])
    assert (by_group.map.low, by_group.map.high) == pytest.approx((once_each.low, once_each.high))

    verdict = paired_change([(scores, nothing)])
    assert verdict.estimate.low <= by_group.map.low < by_group.map.high <= verdict.estimate.high
    assert verdict.estimate.high - verdict.estimate.low < 1.2 * (by_group.map.high - by_group.map.low)


def test_queries_without_a_known_group_are_drawn_one_by_one() -> None:
    values_Q2 = torch.tensor(np.random.default_rng(0).random((30, 2)))
    alone = estimate(values_Q2)
    assert estimate(values_Q2, torch.full((30,), -1)) == alone
    assert estimate(values_Q2, torch.arange(30)) == alone
    assert estimate(values_Q2, torch.arange(30) % 4) == alone  # too few groups to tell how groups differ


def test_intervals_are_those_of_scipys_bootstrap() -> None:
    rng = np.random.default_rng(0)
    group_Q = torch.tensor(rng.integers(0, 40, 300))
    values_Q1 = torch.tensor(rng.random((300, 1)))
    units = drawn_units([group_Q])
    (sum_C1,), (size_C,) = units.sums([values_Q1.numpy()]), units.sizes()

    def mean(sums: np.ndarray, sizes: np.ndarray, axis: int = -1) -> np.ndarray:
        return sums.sum(axis=axis) / sizes.sum(axis=axis)

    drawn = stats.bootstrap(
        (sum_C1[:, 0], size_C), mean, paired=True, n_resamples=RESAMPLES, method="percentile", rng=5
    ).confidence_interval
    (found,) = estimate(values_Q1, group_Q, seed=5)
    assert (found.low, found.high) == pytest.approx((drawn.low, drawn.high))


def test_a_paired_difference_is_narrower_than_the_figures_it_compares() -> None:
    rng = np.random.default_rng(0)
    hard_Q1 = torch.tensor(rng.random((200, 1)))
    first = QueryScores(
        values_QM=hard_Q1.repeat(1, len(METRICS)), cluster_Q=torch.arange(200), index_Q=torch.arange(200), gallery=10
    )
    second = QueryScores(
        values_QM=(hard_Q1 - 0.05).repeat(1, len(METRICS)),
        cluster_Q=torch.arange(200),
        index_Q=torch.arange(200),
        gallery=10,
    )
    difference, alone = retrieval_scores(first, second), retrieval_scores(first)
    assert difference is not None
    assert alone is not None
    assert difference.map.value == pytest.approx(0.05)
    assert difference.map.high - difference.map.low < 1e-9 < alone.map.high - alone.map.low


def test_spread_tells_directions_from_a_collapse() -> None:
    whole = effective_rank(torch.eye(8).repeat(10, 1))
    collapsed = effective_rank(F.normalize(torch.ones(80, 8) + 1e-3 * unit(80, 8), dim=1))
    assert whole.effective_rank == pytest.approx(8)
    assert collapsed.mean_cosine > 0.99
    assert collapsed.has_collapsed(whole)
    assert not whole.has_collapsed(whole)


def test_stored_forms_lose_little_where_bytes_are_many_and_more_where_they_are_few() -> None:
    group_N = torch.arange(400) // 4
    centre_ND = unit(100, 64)[group_N]
    split = SplitEmbeddings(
        image_ND=F.normalize(
            centre_ND + 0.12 * torch.randn(400, 64, generator=torch.Generator().manual_seed(7)), dim=1
        ),
        text_TD=unit(100, 64),
        text_of_N=group_N,
        group_of_N=group_N,
    )
    forms = {found.form: found for found in measure_storage_formats(split)}
    assert [found.bytes_per_item for found in forms.values()] == [256, 128, 68, 76, 64, 36, 32, 20, 16, 12]
    exact = measure_split(split).image_to_image
    assert torch.equal(forms["fp32"].image_to_image.values_QM, exact.values_QM)
    mean_ap = {form: found.image_to_image.mean("map") for form, found in forms.items()}
    assert mean_ap["fp16"] == pytest.approx(mean_ap["fp32"], abs=1e-3)
    assert mean_ap["int8"] == pytest.approx(mean_ap["fp32"], abs=1e-2)
    assert mean_ap["binary, then int8"] == pytest.approx(mean_ap["int8"], abs=2e-2)
    assert mean_ap["fp32"] > mean_ap["fp16, first 32 of 64"] + 0.02 > mean_ap["fp16, first 16 of 64"] + 0.04


def test_standard_error_of_mean_map_does_not_shrink_with_copies_of_the_same_groups() -> None:
    values_Q = torch.rand(40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def scores(copies: int) -> SplitScores:
        answered = QueryScores(
            values_QM=values_Q.repeat(copies)[:, None].expand(-1, len(METRICS)),
            cluster_Q=torch.arange(40).repeat(copies),
            index_Q=torch.arange(40 * copies),
            gallery=40,
        )
        return SplitScores(text_to_image=answered, image_to_text=answered, image_to_image=answered)

    assert mean_map_error(scores(1)) == pytest.approx(float(values_Q.std()) / 40**0.5)
    assert mean_map_error(scores(5)) == pytest.approx(mean_map_error(scores(1)))


def test_an_empty_gallery_answers_no_query() -> None:
    found = score_queries(
        torch.eye(3),
        torch.empty(0, 3),
        lambda start, stop: torch.empty(stop - start, 0, dtype=torch.bool),
        torch.arange(3),
    )
    assert (len(found.values_QM), found.gallery) == (0, 0)
