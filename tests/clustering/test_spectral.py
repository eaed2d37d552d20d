import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dec_jax.clustering.neighbors import (
    Graph,
    Neighbors,
    adjacency_product,
    nearest_neighbors,
    neighbor_graph,
)
from dec_jax.clustering.spectral import (
    EQUAL,
    Partition,
    Spectrum,
    choose_partition,
    cluster_means,
    leading_eigenvectors,
    partitions,
    spectral_clustering,
)
from dec_jax.evaluation.metrics import clustering_accuracy

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
# 120 samples, 5, 10 or 20 neighbors and 4 clusters wherever they will do: each other number
# is another program, which takes seconds to compile.
X = RNG.normal(size=(120, 3)).astype(np.float32)


def rings():
    """Twice two circles, one around the other: no ball around a mean separates them."""
    labels = np.arange(120) % 4
    angle = 2 * np.pi * (np.arange(120) // 4) / 30
    radius = np.where(labels % 2 == 0, 1.0, 4.0) + RNG.normal(scale=0.1, size=120)
    x = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return (x + 20 * (labels[:, None] // 2)).astype(np.float32), labels


def adjacency_by_loops(x, m, scale_neighbor):
    """Zelnik-Manor and Perona (2004), pair by pair."""
    n = len(x)
    distance = np.array([[np.sqrt(((a - b) ** 2).sum()) for b in x] for a in x])
    order = [[j for j in np.argsort(distance[i]) if j != i] for i in range(n)]
    scale = [distance[i, order[i][min(scale_neighbor, m) - 1]] for i in range(n)]
    w = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            if j in order[i][:m] or i in order[j][:m]:
                w[i, j] = np.exp(-(distance[i, j] ** 2) / (scale[i] * scale[j]))
    return w


def dense(graph):
    return np.asarray(adjacency_product(graph, jnp.eye(len(graph.neighbors))))


def graph_of(x, m=5):
    return neighbor_graph(nearest_neighbors(x, m))


@pytest.mark.parametrize("scale_neighbor", [3, 50])
def test_graph_matches_loops(scale_neighbor):
    graph = neighbor_graph(nearest_neighbors(X, 6), scale_neighbor=scale_neighbor)
    expected = adjacency_by_loops(X.astype(float), 6, scale_neighbor)
    np.testing.assert_allclose(dense(graph), expected, rtol=1e-4, atol=2e-6)


def test_adjacency_product_is_symmetric():
    w = dense(graph_of(X))
    np.testing.assert_allclose(w, w.T, rtol=1e-6)
    v = RNG.normal(size=(len(X), 4)).astype(np.float32)
    found = adjacency_product(graph_of(X), jnp.asarray(v))
    np.testing.assert_allclose(found, w @ v, rtol=1e-4, atol=1e-5)


def test_eigenvectors_match_a_dense_solver():
    graph = graph_of(X)
    found = leading_eigenvectors(KEY, graph, 8, tolerance=1e-5)
    w = dense(graph).astype(float)
    degrees = w.sum(axis=1)
    s = w / np.sqrt(degrees[:, None] * degrees[None])
    values, vectors = np.linalg.eigh(s)
    np.testing.assert_allclose(found.eigenvalues, values[::-1][:8], atol=1e-5)
    # Up to their signs.
    overlap = np.abs(np.asarray(found.eigenvectors).T @ vectors[:, ::-1][:, :8])
    np.testing.assert_allclose(overlap, np.eye(8), atol=1e-3)


def test_as_many_eigenvalues_are_1_as_there_are_parts():
    parts = np.concatenate([X[:40], X[40:80] + 1000, X[80:] - 1000])
    found = leading_eigenvectors(KEY, graph_of(parts), 8, tolerance=1e-5)
    assert (found.eigenvalues[:3] > 1 - 1e-4).all()
    assert found.eigenvalues[3] < 1 - 1e-3


def test_spectral_clustering_finds_what_no_centroid_can():
    x, labels = rings()
    found = spectral_clustering(KEY, x, 4, n_neighbors=[5])
    assert clustering_accuracy(labels, found.labels) == 1
    assert found.normalized_cut < 1e-3


def test_spectral_clustering_finds_blobs(blobs):
    x, labels = blobs
    found = spectral_clustering(KEY, x[:120], 4)
    assert clustering_accuracy(labels[:120], found.labels) == 1
    assert found.labels.dtype == np.int32


def test_spectral_clustering_tells_of_its_steps_and_ends_with_one_that_fails():
    seen = []
    spectral_clustering(KEY, X, 4, on_step=lambda: seen.append(len(seen)))
    assert seen == [0, 1, 2]

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        spectral_clustering(KEY, X, 4, on_step=stop)


def cut_and_modularity_by_loops(w, labels, k):
    cut, modularity = 0.0, 0.0
    for cluster in range(k):
        members = labels == cluster
        total, inside = w[members].sum(), w[np.ix_(members, members)].sum()
        cut += 1 - inside / total
        modularity += inside / w.sum() - (total / w.sum()) ** 2
    return cut, modularity


def best_partition(graph, spectrum, k):
    return choose_partition(partitions(KEY, graph, spectrum, k))


def test_partition_reports_its_cut_and_modularity():
    graph = graph_of(X)
    spectrum = leading_eigenvectors(KEY, graph, 8)
    found = best_partition(graph, spectrum, 4)
    cut, modularity = cut_and_modularity_by_loops(dense(graph), found.labels, 4)
    assert found.normalized_cut == pytest.approx(cut, rel=1e-4)
    assert found.modularity == pytest.approx(modularity, rel=1e-4)


def test_partition_is_refined_until_no_node_would_move():
    """Each node is where weighted kernel k-means puts it, or moving would not help."""
    graph = graph_of(X)
    spectrum = leading_eigenvectors(KEY, graph, 8)
    found = best_partition(graph, spectrum, 4)
    w, k = dense(graph), 4
    degrees = w.sum(axis=1)
    members = np.eye(k)[found.labels]
    total, inside = degrees @ members, np.diag(members.T @ w @ members)
    near = 2 * (w @ members) / np.outer(degrees, total) - inside / total**2
    moved = near.argmax(axis=1)
    before, _ = cut_and_modularity_by_loops(w, found.labels, k)
    after, _ = cut_and_modularity_by_loops(w, moved, k)
    assert after > before - 1e-3


def test_a_small_piece_is_not_torn_off_where_that_leaves_two_clusters_in_one():
    """The lowest cut of all would do so."""
    rng = np.random.default_rng(0)
    sizes = [29, 29, 29, 29, 4]
    centers = np.repeat([[0, 0], [4.5, 0], [30, 0], [60, 0], [90, 0]], sizes, axis=0)
    x = (centers + rng.normal(size=centers.shape)).astype(np.float32)
    classes = np.repeat([0, 1, 2, 3, 3], sizes)
    torn = np.repeat([0, 0, 1, 2, 3], sizes)
    graph = graph_of(x)
    found = best_partition(graph, leading_eigenvectors(KEY, graph, 8), 4)
    w = dense(graph)
    lowest, _ = cut_and_modularity_by_loops(w, torn, 4)
    assert lowest < found.normalized_cut
    assert clustering_accuracy(classes, found.labels) > 0.95


def test_more_eigenvectors_than_clusters_are_tried():
    graph = graph_of(X)
    spectrum = leading_eigenvectors(KEY, graph, 8)
    alone = spectrum._replace(eigenvectors=spectrum.eigenvectors[:, :4])
    several = best_partition(graph, spectrum, 4)
    assert 4 <= several.n_eigenvectors <= 8
    assert best_partition(graph, alone, 4).n_eigenvectors == 4


def test_a_spectrum_of_another_graph_is_judged_in_the_given_one():
    graph, other = graph_of(X), graph_of(X, 10)
    found = best_partition(graph, leading_eigenvectors(KEY, other, 8), 4)
    cut, modularity = cut_and_modularity_by_loops(dense(graph), found.labels, 4)
    assert found.normalized_cut == pytest.approx(cut, rel=1e-4)
    assert found.modularity == pytest.approx(modularity, rel=1e-4)


def test_the_best_of_several_graphs_is_the_best_in_that_of_the_fewest_neighbors():
    several = spectral_clustering(KEY, X, 4, n_neighbors=[10, 5])
    first, second = jax.random.split(KEY)
    graph = graph_of(X)
    alone = [
        one
        for m in (5, 10)
        for one in partitions(
            second, graph, leading_eigenvectors(first, graph_of(X, m), 8), 4
        )
    ]
    np.testing.assert_array_equal(several.labels, choose_partition(alone).labels)
    assert several.modularity > max(one.modularity for one in alone) - EQUAL
    assert len({one.modularity for one in alone}) > 1


@pytest.mark.slow
def test_objects_seen_from_all_sides_need_few_neighbors():
    """Rings beside each other, 40 samples on each, as of a turntable."""
    angle = 2 * np.pi * np.arange(40) / 40
    ring = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    x = np.concatenate([ring + [0, 0, 0.7 * level] for level in range(6)])
    classes = np.repeat(np.arange(6), 40)
    found = spectral_clustering(KEY, x.astype(np.float32), 6)
    assert clustering_accuracy(classes, found.labels) == 1
    far = spectral_clustering(KEY, x.astype(np.float32), 6, n_neighbors=[20])
    assert clustering_accuracy(classes, far.labels) < 0.9


def test_the_same_key_gives_the_same_labels():
    found = [spectral_clustering(KEY, X, 4).labels for _ in range(2)]
    np.testing.assert_array_equal(*found)


def test_samples_with_copies_far_off_stay_on_the_graph():
    x = np.repeat([[0.0, 0], [1, 1], [2, 2], [50, 50]], [40, 40, 39, 1], axis=0)
    found = spectral_clustering(KEY, x.astype(np.float32), 4, n_neighbors=[5])
    assert np.isfinite(found.normalized_cut)
    assert set(found.labels.tolist()) == {0, 1, 2, 3}


def test_a_cluster_a_sample_is_possible():
    found = spectral_clustering(KEY, X[:6], 6)
    assert sorted(found.labels.tolist()) == list(range(6))


def test_one_cluster_holds_everything():
    found = spectral_clustering(KEY, X, 1, n_neighbors=[5])
    assert set(found.labels.tolist()) == {0}
    assert found.normalized_cut == pytest.approx(0, abs=1e-5)


def test_cluster_means_match_loops_and_an_empty_cluster_is_0():
    labels = np.array([0, 2, 2, 0], np.int32)
    found = cluster_means(jnp.asarray(X[:4]), jnp.asarray(labels), 3)
    np.testing.assert_allclose(found[0], X[[0, 3]].mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(found[2], X[[1, 2]].mean(axis=0), rtol=1e-6)
    np.testing.assert_array_equal(found[1], 0)


def test_neighbor_graph_rejects_a_scale_neighbor_of_0():
    neighbors = Neighbors(jnp.zeros((3, 2), jnp.int32), jnp.zeros((3, 2)))
    with pytest.raises(ValueError, match="scale_neighbor must be at least 1, got 0"):
        neighbor_graph(neighbors, scale_neighbor=0)


def test_leading_eigenvectors_rejects_more_than_there_are_nodes():
    graph = Graph(jnp.zeros((3, 1), jnp.int32), jnp.ones((3, 1)))
    with pytest.raises(ValueError, match="n_components must be at most n = 3, got 4"):
        leading_eigenvectors(KEY, graph, 4)


def test_partition_rejects_a_spectrum_that_is_too_short():
    graph = graph_of(X)
    spectrum = Spectrum(jnp.ones(3), jnp.ones((120, 3)))
    with pytest.raises(
        ValueError, match="spectrum must have at least n_clusters = 4 components, got 3"
    ):
        partitions(KEY, graph, spectrum, 4)


@pytest.mark.parametrize(
    ("n_neighbors", "message"),
    [
        ((), "n_neighbors must name at least one number, got none"),
        ((5, 0), "n_neighbors must be at least 1, got 0"),
    ],
)
def test_spectral_clustering_rejects_numbers_of_neighbors(n_neighbors, message):
    with pytest.raises(ValueError, match=message):
        spectral_clustering(KEY, X, 3, n_neighbors=n_neighbors)


def test_spectral_clustering_rejects_more_clusters_than_samples():
    with pytest.raises(ValueError, match="Cannot place 9 centroids on 5 samples"):
        spectral_clustering(KEY, X[:5], 9)


def labeled(labels, modularity):
    return Partition(np.asarray(labels, np.int32), 0.1, modularity, 4)


def test_of_partitions_close_to_the_highest_modularity_the_most_supported_is_chosen():
    classes = np.arange(60) // 20
    nearly = np.where(np.arange(60) == 7, 2, classes)
    other = np.arange(60) % 3
    odd = labeled(other, 0.7)
    shared = [
        labeled(classes, 0.7 - EQUAL / 2),
        labeled(nearly, 0.6),
        labeled(classes, 0.1),
    ]
    assert choose_partition([odd, *shared]) is shared[0]
    # Others decide only where modularity does not.
    far = [one._replace(modularity=one.modularity - EQUAL) for one in shared]
    assert choose_partition([odd, *far]) is odd
    assert choose_partition([odd]) is odd


def test_many_rows_are_compared_by_a_part_of_them():
    rng = np.random.default_rng(0)
    classes = rng.integers(3, size=25_000)
    odd, same = labeled(rng.integers(3, size=25_000), 0.5), labeled(classes, 0.4999)
    again = labeled((classes + 1) % 3, 0.2)
    assert choose_partition([odd, same, again]) is same
