"""DeepECT: its losses against slow versions, its tree, and runs on blobs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_training import KEY, TINY

from dec_jax.clustering.growing_tree import GrowingTree
from dec_jax.clustering.hierarchy import cut_hierarchy
from dec_jax.evaluation.metrics import clustering_accuracy
from dec_jax.evaluation.tree_purity import dendrogram_purity
from dec_jax.networks.architecture import Architecture, Conv2D
from dec_jax.networks.autoencoder import embed, init_params
from dec_jax.training.augmentation import Augmentation
from dec_jax.training.deepect import DeepECTConfig, deepect, tree_losses
from dec_jax.training.optimizer import Optimizer
from dec_jax.training.pretrain import PretrainConfig, pretrain_end_to_end

CONFIG = DeepECTConfig(
    n_leaves=6,
    n_steps=60,
    split_every=10,
    batch_size=64,
    optimizer=Optimizer("adam", 1e-3),
)


def a_tree():
    """((0, 1), (2, (3, 4))): the leaves are slots, the nodes nested tuples."""
    tree = GrowingTree(6)
    tree.children = {0: (1, 2), 1: (3, 4), 2: (5, 6), 6: (7, 8)}
    tree.splits = {0: 0, 1: 1, 2: 2, 6: 3}
    tree.slots = {3: 0, 4: 1, 5: 2, 7: 3, 8: 4}
    tree.made = 9
    return tree


def losses_by_loops(z, leaves, shares, centers, weights, tree):
    """The losses of Mautz et al. (2019), node by node."""
    below = {
        node: [tree.slots[leaf] for leaf in tree._below(node)] for node in range(9)
    }
    alive = {
        node: [leaf for leaf in below[node] if weights[leaf] > 0] for node in below
    }
    center_loss = 0.0
    for leaf in range(5):
        inside = leaves == leaf
        if shares[inside].sum() > 0:
            mean = np.average(z[inside], axis=0, weights=shares[inside])
            center_loss += np.linalg.norm(centers[leaf] - mean)
    center_loss /= (weights > 0).sum()

    def place(node):
        return np.average(centers[alive[node]], axis=0, weights=weights[alive[node]])

    data_loss, nodes = 0.0, 0
    for pair in tree.children.values():
        if not all(alive[node] for node in pair):
            continue
        for node, sibling in (pair, pair[::-1]):
            nodes += 1
            direction = place(node) - place(sibling)
            direction /= np.linalg.norm(direction)
            for i, leaf in enumerate(leaves):
                if leaf in alive[node]:
                    data_loss += shares[i] * abs(direction @ (place(node) - z[i]))
    return center_loss, data_loss / nodes


@pytest.mark.parametrize("pruned", [[], [4], [2], [3, 4], [0]])
def test_losses_match_their_equations(pruned):
    rng = np.random.default_rng(0)
    z, centers = rng.normal(size=(12, 3)), rng.normal(size=(6, 3))
    weights = np.append(rng.uniform(1, 9, 5), 0)
    weights[pruned] = 0
    leaves = rng.choice(np.flatnonzero(weights), 12)
    shares = np.append(np.full(11, 1 / 11), 0.0)
    tree = a_tree()
    found = tree_losses(
        *(jnp.float32(z), jnp.asarray(leaves), jnp.float32(shares)),
        *(jnp.float32(centers), jnp.float32(weights)),
        *map(jnp.asarray, tree.arrays()),
    )
    expected = losses_by_loops(z, leaves, shares, centers, weights, tree)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_each_loss_moves_its_own_part():
    rng = np.random.default_rng(0)
    z, centers = (
        jnp.float32(rng.normal(size=(8, 3))),
        jnp.float32(rng.normal(size=(6, 3))),
    )
    weights = jnp.array([1.0, 1, 1, 1, 1, 0])
    rest = (weights, *map(jnp.asarray, a_tree().arrays()))
    leaves, shares = jnp.arange(8) % 5, jnp.full(8, 1 / 8)

    def losses(z, centers):
        return jnp.stack(tree_losses(z, leaves, shares, centers, *rest))

    by_z, by_centers = jax.jacobian(losses, argnums=(0, 1))(z, centers)
    moved = [[bool(jnp.any(part != 0)) for part in by] for by in (by_z, by_centers)]
    assert moved == [[False, True], [True, False]]
    # A center that is the mean of its samples, and siblings that meet.
    by_z, by_centers = jax.jacobian(losses, argnums=(0, 1))(0 * z, 0 * centers)
    assert np.isfinite(by_z).all() and np.isfinite(by_centers).all()


def test_arrays_are_those_of_the_tree():
    members, siblings = a_tree().arrays()
    below = [set(np.flatnonzero(row).tolist()) for row in members]
    assert below == [{0, 1}, {2, 3, 4}, {0}, {1}, {2}, {3, 4}, {3}, {4}, set(), set()]
    assert siblings.tolist() == [1, 0, 3, 2, 5, 4, 7, 6, 8, 9]


@pytest.mark.parametrize(
    ("dead", "below"),
    [
        ([4], [{0, 1}, {2, 3}, {0}, {1}, {2}, {3}]),
        ([2], [{0, 1}, {3, 4}, {0}, {1}, {3}, {4}]),
        ([0, 1], [{2}, {3, 4}, {3}, {4}]),
        ([2, 3, 4, 1], []),
    ],
)
def test_the_sibling_of_a_pruned_leaf_moves_up(dead, below):
    tree = a_tree()
    alive = np.ones(6, bool)
    alive[dead] = False
    tree.prune(alive)
    members, _ = tree.arrays()
    found = [set(np.flatnonzero(row).tolist()) for row in members if row.any()]
    key = sorted
    assert sorted(map(key, found)) == sorted(map(key, below))
    assert tree.children.keys() == tree.splits.keys()
    # A parent was divided before its children.
    for node, pair in tree.children.items():
        assert all(tree.splits.get(child, 9) > tree.splits[node] for child in pair)


def test_the_leaf_of_the_largest_sum_of_squares_is_divided():
    rng = np.random.default_rng(0)
    tree = GrowingTree(4)
    left, right = rng.normal(size=(50, 2)), rng.normal(size=(90, 2)) + [40, 0]
    z = np.concatenate([left, right[:45], right[45:] + [0, 9]])
    slots, centers = tree.grow(z, np.zeros((4, 2)), rng)
    assert slots == [0, 1] and abs(centers[0, 0] - centers[1, 0]) > 30
    places = np.zeros((4, 2))
    places[slots] = centers
    again, centers = tree.grow(z, places, rng)
    assert abs(centers[0, 1] - centers[1, 1]) > 7
    assert len(set(tree.slots.values())) == 3 and again[1] == 2


def test_equal_samples_are_not_divided():
    assert (
        GrowingTree(4).grow(np.ones((9, 2)), np.zeros((4, 2)), np.random.default_rng(0))
        is None
    )


@pytest.fixture(scope="module")
def nested():
    """Two pairs of blobs, far from each other."""
    rng = np.random.default_rng(1)
    truth = np.arange(400) % 4
    places = np.zeros((4, 8))
    places[:, 0] = [0, 0, 9, 9]
    places[:, 1] = [0, 3, 0, 3]
    x = places[truth] + rng.normal(scale=0.4, size=(400, 8))
    return x.astype(np.float32), truth


@pytest.fixture(scope="module")
def pretrained(nested):
    config = PretrainConfig(epochs=20, batch_size=64, optimizer=Optimizer("adam", 1e-2))
    return pretrain_end_to_end(KEY, nested[0], architecture=TINY, config=config)[0]


def test_the_tree_of_nested_blobs_is_found(nested, pretrained):
    x, truth = nested
    seen = []

    def on_split(step, leaves):
        seen.append((step, leaves))

    found = deepect(
        KEY, pretrained, x, architecture=TINY, config=CONFIG, on_split=on_split
    )
    assert seen[0] == (0, 2) and [step for step, _ in seen] == [0, 10, 20, 30, 40, 50]
    assert found.history == [leaves for _, leaves in seen]
    assert max(found.history) <= CONFIG.n_leaves
    sizes = np.bincount(found.labels)
    assert (np.diff(sizes) <= 0).all() and (sizes == found.hierarchy.sizes).all()
    halves = cut_hierarchy(found.hierarchy, 2)[found.labels]
    assert clustering_accuracy(truth // 2, halves) == 1
    fourths = cut_hierarchy(found.hierarchy, 4)[found.labels]
    assert clustering_accuracy(truth, fourths) == 1
    assert dendrogram_purity(truth, found.labels, found.hierarchy) == 1
    # A new sample belongs to the nearest leaf.
    z = np.asarray(embed(found.params, jnp.asarray(x), architecture=TINY))
    apart = ((z[:, None] - found.centroids[None]) ** 2).sum(axis=-1)
    np.testing.assert_array_equal(apart.argmin(axis=1), found.labels)
    again = deepect(KEY, pretrained, x, architecture=TINY, config=CONFIG)
    np.testing.assert_array_equal(again.labels, found.labels)
    np.testing.assert_array_equal(again.centroids, found.centroids)


def test_training_makes_the_branches_tighter(nested, pretrained):
    x, _ = nested

    def within(params, labels):
        z = np.asarray(embed(params, jnp.asarray(x), architecture=TINY))
        spread = [z[labels == leaf].var(axis=0).sum() for leaf in np.unique(labels)]
        return np.mean(spread) / z.var(axis=0).sum()

    found = deepect(KEY, pretrained, x, architecture=TINY, config=CONFIG)
    assert within(found.params, found.labels) < within(pretrained, found.labels)


def test_a_leaf_without_samples_is_pruned(nested, pretrained):
    x, truth = nested
    strict = DeepECTConfig(
        n_leaves=6, n_steps=60, split_every=10, batch_size=64, pruning_threshold=40
    )
    found = deepect(KEY, pretrained, x, architecture=TINY, config=strict)
    # No two leaves can both have more than 40 of 64 samples.
    assert len(found.centroids) == 1 and len(found.hierarchy.merges) == 0
    assert (found.labels == 0).all()


@pytest.mark.slow
def test_distorted_copies_stay_in_the_leaf_of_their_sample(nested, pretrained):
    x, truth = nested
    config = DeepECTConfig(
        n_leaves=6,
        n_steps=60,
        split_every=10,
        batch_size=64,
        optimizer=Optimizer("adam", 1e-3),
        augmentation=Augmentation(masking=0.1),
    )
    found = deepect(KEY, pretrained, x, architecture=TINY, config=config)
    halves = cut_hierarchy(found.hierarchy, 2)[found.labels]
    assert clustering_accuracy(truth // 2, halves) == 1
    plain = deepect(KEY, pretrained, x, architecture=TINY, config=CONFIG)
    assert not np.array_equal(plain.centroids, found.centroids)


def test_a_callback_ends_training(nested, pretrained):
    found = deepect(
        *(KEY, pretrained, nested[0]),
        architecture=TINY,
        config=CONFIG,
        on_split=lambda *_: True,
    )
    assert found.history == [2]
    kernels = jax.tree.leaves((found.params["encoder"], pretrained["encoder"]))
    half = len(kernels) // 2
    for new, old in zip(kernels[:half], kernels[half:], strict=True):
        np.testing.assert_array_equal(new, old)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_leaves": 1}, "n_leaves must be at least 2, got 1"),
        ({"split_every": 0}, "split_every must be at least 1, got 0"),
        (
            {"pruning_threshold": -1.0},
            "pruning_threshold must be finite and at least 0",
        ),
        (
            {"clustering_weight": np.inf},
            "clustering_weight must be finite and at least",
        ),
    ],
)
def test_config_rejects_settings_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        DeepECTConfig(**options)


def test_deepect_rejects_few_samples_and_batch_norm(blobs):
    params = init_params(KEY, TINY)
    with pytest.raises(
        ValueError, match="of up to 6 leaves needs as many samples, got 5"
    ):
        deepect(KEY, params, blobs[0][:5], architecture=TINY, config=CONFIG)
    network = Architecture((2, 4, 1), (Conv2D(3, (2, 4), "linear"),), batch_norm=True)
    with pytest.raises(
        ValueError, match="DeepECT needs a network without a variational"
    ):
        deepect(
            *(KEY, init_params(KEY, network), blobs[0]),
            architecture=network,
            config=CONFIG,
        )
