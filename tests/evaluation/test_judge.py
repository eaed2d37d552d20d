import numpy as np
import pytest

from dec_jax.clustering.agreement import pair_indices, supports
from dec_jax.clustering.candidates import neighbor_graph
from dec_jax.evaluation.judge import (
    LITTLE_SUPPORT,
    MOST_COLUMNS,
    best_support,
    choose_labels,
    conductance,
    judge,
    method_space,
    methods_for_numbers,
)
from dec_jax.evaluation.metrics import adjusted_rand_index
from dec_jax.evaluation.n_clusters import clear_number
from dec_jax.evaluation.second_opinion import (
    DOUBTFUL,
    Numbers,
    opinion_on,
    other_numbers,
    second_opinion,
)

RNG = np.random.default_rng(0)
CLASSES = np.arange(90) % 3
BLOBS = 10 * np.eye(3)[CLASSES] + RNG.normal(size=(90, 3))


def conductance_by_loops(graph, labels):
    """The share of each cluster's edge weight that leaves it, averaged."""
    shares = []
    for cluster in np.unique(labels):
        inside = outside = 0.0
        for i in range(len(labels)):
            for j in range(len(labels)):
                if labels[i] == cluster:
                    inside += graph[i, j] * (labels[j] == cluster)
                    outside += graph[i, j] * (labels[j] != cluster)
        shares.append(outside / (inside + outside))
    return np.mean(shares)


def test_conductance_matches_its_definition():
    graph, labels = neighbor_graph(BLOBS, 10), np.arange(90) // 20
    expected = conductance_by_loops(graph.toarray(), labels)
    assert conductance(graph, labels) == pytest.approx(expected)


def test_judge_prefers_the_labeling_that_others_share():
    wrong = np.arange(90) // 30
    found = judge(BLOBS, {"wrong": wrong, "a": CLASSES, "b": (CLASSES + 1) % 3})
    assert set(found.names[:2]) == {"a", "b"}
    assert found.agreement[0] == pytest.approx(
        (1 + adjusted_rand_index(CLASSES, wrong)) / 2
    )
    graph = neighbor_graph(BLOBS, 10)
    assert found.conductance == conductance(graph, CLASSES)
    index = max(adjusted_rand_index(CLASSES, wrong), 0)
    np.testing.assert_allclose(found.scores[0], (1 + index**3) / 2)


def test_mean_index_decides_where_nothing_has_support():
    # Six labelings find the classes of two samples in three; two leave one huge cluster and
    # coincide, but for one sample.
    rng = np.random.default_rng(0)
    noisy = [
        np.where(rng.random(90) < 0.65, CLASSES, rng.integers(3, size=90))
        for _ in range(6)
    ]
    huge = [(np.arange(90) < 4).astype(int), (np.arange(90) < 5).astype(int)]
    labelings = {f"noisy {i}": labels for i, labels in enumerate(noisy)}
    labelings |= {f"huge {i}": labels for i, labels in enumerate(huge)}
    support = supports(pair_indices(list(labelings.values())))
    assert support.argmax() >= 6 and support.max() < LITTLE_SUPPORT
    found = judge(BLOBS, labelings)
    assert found.names[0].startswith("noisy")
    best = labelings[found.names[0]]
    indices = [adjusted_rand_index(best, labels) for labels in labelings.values()]
    assert found.agreement[0] == pytest.approx((sum(indices) - 1) / 7)


def test_an_answer_that_nothing_supports_is_not_called_confident():
    rng = np.random.default_rng(0)
    noisy = [
        np.where(rng.random(90) < 0.6, CLASSES, rng.integers(3, size=90))
        for _ in range(6)
    ]
    found = judge(BLOBS, {str(i): labels for i, labels in enumerate(noisy)})
    assert found.scores.max() < LITTLE_SUPPORT
    opinion = second_opinion(noisy[int(found.names[0])], found, BLOBS)
    assert opinion.verdict != "confident"
    assert opinion.doubt >= 0.5
    # The same where the graph sees gaps.
    opinion = second_opinion(noisy[0], found._replace(conductance=0.01), BLOBS)
    assert opinion.verdict == "several answers"
    assert "simple methods hardly agree" in opinion.text


def test_support_is_highest_at_the_right_number_of_clusters():
    methods = methods_for_numbers(BLOBS, 5)
    found = [best_support(methods, k) for k in range(2, 6)]
    assert int(np.argmax(found)) == 1 and found[1] == pytest.approx(1)


def test_judge_rejects_a_single_labeling():
    with pytest.raises(ValueError, match="labelings must hold at least 2"):
        judge(BLOBS, {"a": CLASSES})


def test_choose_labels_finds_blobs_of_unequal_sizes():
    sizes = [400, 400, 30]
    classes = np.repeat(np.arange(3), sizes)
    x = 9 * np.eye(3)[classes] + RNG.normal(size=(len(classes), 3))
    assert adjusted_rand_index(classes, choose_labels(x, 3).labels) > 0.99


def test_choose_labels_labels_the_samples_that_the_methods_did_not_see(monkeypatch):
    monkeypatch.setattr("dec_jax.evaluation.judge.MOST_ROWS", 40)
    found = choose_labels(BLOBS, 3)
    assert len(found.rows) == len(found.space) == 40
    assert adjusted_rand_index(CLASSES, found.labels) == 1
    np.testing.assert_array_equal(found.labels[found.rows], found.judgment.labels[0])


def test_choose_labels_compares_wide_rows_by_direction():
    classes = np.arange(120) % 4
    directions = np.repeat(np.eye(4), 25, axis=1)[classes]
    lengths = RNG.uniform(0.1, 10, (120, 1))
    x = lengths * (directions + RNG.normal(0, 0.1, (120, 100)))
    assert adjusted_rand_index(classes, choose_labels(x, 4).labels) == 1
    assert method_space(x).shape == (120, MOST_COLUMNS)


def test_method_space_keeps_the_lengths_of_rows_of_a_table():
    x = RNG.uniform(0.1, 10, (120, 1)) * RNG.normal(size=(120, 100))
    kept, scaled = method_space(x, by_direction=False), method_space(x)
    assert kept.shape == scaled.shape == (120, MOST_COLUMNS)
    rows = np.linalg.norm(x, axis=1)
    assert np.corrcoef(np.linalg.norm(kept, axis=1), rows)[0, 1] > 0.9
    assert abs(np.corrcoef(np.linalg.norm(scaled, axis=1), rows)[0, 1]) < 0.5


def opinion_of(x, k, labels=None):
    choice = choose_labels(x, k)
    labels = choice.labels if labels is None else labels
    return second_opinion(labels[choice.rows], choice.judgment, choice.space)


def test_far_blobs_are_confident():
    found = opinion_of(BLOBS, 3)
    assert found.verdict == "confident" and found.text.startswith("confident: ")
    assert (found.agreement, found.doubt) == (pytest.approx(1), pytest.approx(0))


def test_labels_that_cut_the_blobs_are_one_of_several_answers():
    found = opinion_of(BLOBS, 3, np.arange(90) // 30)
    assert found.verdict == "several answers"
    assert found.method in found.text and found.agreement < 0.1


def test_one_cluster_too_few_is_told_where_all_methods_see_it():
    rng = np.random.default_rng(0)
    x = 9 * np.eye(8)[np.arange(400) % 5] + rng.normal(size=(400, 8))
    few, right = (choose_labels(x, k) for k in (4, 5))
    found = opinion_on(few.labels, few)
    assert (found.verdict, found.other_number) == ("several answers", 5)
    assert opinion_on(right.labels, right).verdict == "confident"


def test_noise_has_no_clusters_to_speak_of():
    noise = RNG.normal(size=(600, 16))
    found = opinion_of(noise, 4)
    assert found.verdict == "no clusters"
    assert "no clusters to speak of" in found.text


def test_another_number_of_parts_is_told():
    rng = np.random.default_rng(0)
    x = 9 * np.eye(6)[np.arange(180) % 6] + rng.normal(size=(180, 6))
    choice = choose_labels(x, 3)
    parts = clear_number(choice.space)
    assert parts == 6
    labels, judgment, space = choice.labels, choice.judgment, choice.space
    found = second_opinion(labels, judgment, space, Numbers({}, parts))
    assert found.verdict == "several answers" and found.doubt > DOUBTFUL
    assert found.text.endswith("falls into 6 parts rather than 3")
    assert found.other_number == 6
    # One more or less may be a matter of taste.
    near = choose_labels(x, 5)
    told = second_opinion(near.labels, near.judgment, near.space, Numbers({}, 6))
    assert "parts" not in told.text


def test_a_number_near_k_on_which_methods_agree_more_is_told():
    rng = np.random.default_rng(0)
    x = 9 * np.eye(4)[np.arange(160) % 4] + rng.normal(size=(160, 4))
    choice = choose_labels(x, 3)
    numbers = other_numbers(choice.space, 3)
    assert numbers.rival(3) == (4, pytest.approx(numbers.support[3], abs=1e-9))
    # Methods agree on four parts without exception: one part more counts then.
    found = opinion_on(choice.labels, choice)
    assert found.text.endswith(
        "the graph of neighbors falls into 4 parts rather than 3"
    )
    # Without the view of the graph.
    numbers = numbers._replace(parts=None)
    found = second_opinion(choice.labels, choice.judgment, choice.space, numbers)
    assert found.verdict == "several answers" and found.doubt > DOUBTFUL
    assert "simple methods agree more on 4 clusters (support 1.00)" in found.text
    assert found.other_number == 4
    assert found.doubt == pytest.approx(1 - np.sqrt(numbers.support[3]), abs=1e-6)


@pytest.mark.parametrize("d", [2, 8])
def test_noise_has_no_number_of_parts(d):
    assert clear_number(np.random.default_rng(0).normal(size=(400, d))) is None


def test_parts_of_the_graph_on_which_methods_disagree_are_not_told():
    from sklearn.datasets import make_blobs

    x, _ = make_blobs(200, 3, centers=3, random_state=0)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    # A clear gap of the graph, and wrong.
    assert clear_number(x) == 6
    choice = choose_labels(x, 3)
    assert other_numbers(choice.space, 3).parts is None
    assert other_numbers(9 * np.eye(6)[np.arange(180) % 6], 3).parts == 6
