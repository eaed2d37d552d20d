import math
import re
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_training
from jax.sharding import NamedSharding, PartitionSpec
from tiny_training import KEY, TINY

from dec_jax.clustering import kmeans
from dec_jax.clustering.kmeans import k_means
from dec_jax.networks.autoencoder import embed, init_params
from dec_jax.objectives import DCN, DEC, IDEC
from dec_jax.parallel import row_blocks, sharding
from dec_jax.parallel.row_blocks import map_blocks
from dec_jax.training.augmentation import Augmentation
from dec_jax.training.cluster import _train_intervals, train
from dec_jax.training.layerwise import LayerwiseConfig, _stage_input, pretraining_stages
from dec_jax.training.pretrain import (
    PretrainConfig,
    _pretrain_epochs,
    init_pretraining,
    pretrain_end_to_end,
)
from dec_jax.training.state import init_state

# 200 samples in batches of 64, the last one partial; each step masks inputs anew.
PRETRAIN = PretrainConfig(
    epochs=2, batch_size=64, augmentation=Augmentation(masking=0.2)
)
CONFIG = replace(tiny_training.CONFIG, max_intervals=3)


@pytest.fixture(scope="module")
def mesh():
    return sharding.data_mesh()


@pytest.fixture(scope="module")
def x(blobs):
    return blobs[0]


def placements(x, mesh):
    """The rows spread, and such as the devices do not divide, all of them on each."""
    return [sharding.shard_rows(x, mesh), sharding.replicate(x[:198], mesh)]


# Where arrays are.


def test_data_mesh_takes_all_devices_or_those_named():
    assert dict(sharding.data_mesh().shape) == {"data": 4}
    two = jax.devices()[1:3]
    assert sharding.data_mesh(two).devices.tolist() == two


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_shard_rows_gives_each_device_the_next_part(mesh, dtype):
    x = np.arange(24, dtype=dtype).reshape(8, 3)
    spread = sharding.shard_rows(x, mesh)
    assert spread.dtype == dtype
    for number, shard in enumerate(spread.addressable_shards):
        assert shard.device == mesh.devices[number]
        np.testing.assert_array_equal(shard.data, x[2 * number : 2 * number + 2])


def test_replicate_puts_all_on_each_device(mesh):
    tree = {"z": np.arange(3.0), "key": KEY}
    copies = sharding.replicate(tree, mesh)
    for leaf in copies.values():
        assert leaf.sharding.is_fully_replicated
        assert leaf.sharding.device_set == set(jax.devices())
    np.testing.assert_array_equal(copies["z"].addressable_shards[3].data, tree["z"])
    np.testing.assert_array_equal(
        jax.random.key_data(copies["key"]), jax.random.key_data(KEY)
    )


def test_replicate_like_copies_to_the_devices_of_the_samples(mesh, x):
    given = jnp.arange(3.0)
    for samples in (jnp.asarray(x), sharding.shard_rows(x, mesh)):
        copy = sharding.replicate_like(given, samples)
        assert copy.sharding.device_set == samples.sharding.device_set
        copy.delete()
    np.testing.assert_array_equal(given, np.arange(3.0))


# Blocks of rows.


@pytest.mark.parametrize("n, block_size", [(16, 4), (24, 4), (20, 3), (17, 2), (3, 5)])
def test_blocks_hold_the_next_rows_of_each_device(mesh, n, block_size):
    values = np.arange(1, n + 1)
    like = sharding.replicate(values, mesh)
    cut = jax.jit(lambda rows: row_blocks.to_blocks(rows, block_size, rows))(like)
    share = math.ceil(n / 4)
    expected = np.zeros((math.ceil(share / block_size), 4, block_size), int)
    for row in range(n):
        device, place = divmod(row, share)
        block, within = divmod(place, block_size)
        expected[block, device, within] = values[row]
    np.testing.assert_array_equal(cut, expected.reshape(len(expected), -1))
    back = jax.jit(lambda rows, like: row_blocks.from_blocks(rows, n, like))(cut, like)
    np.testing.assert_array_equal(back, values)


def test_map_blocks_over_devices_equals_the_plain_function(mesh, x):
    def function(rows):
        return {"sum": rows.sum(axis=1), "twice": 2 * rows}

    for samples in placements(x, mesh):
        found = jax.jit(partial(map_blocks, function, block_size=7))(samples)
        expected = function(np.asarray(samples))
        np.testing.assert_array_equal(found["twice"], expected["twice"])
        np.testing.assert_allclose(found["sum"], expected["sum"], rtol=1e-5, atol=1e-5)


def test_samples_are_drawn_and_found_by_their_number_on_any_devices(mesh, x):
    levels = jax.random.uniform(KEY, (2, 50))
    weights = np.random.default_rng(0).random(200).astype(np.float32)

    @jax.jit
    def drawn(z, weights):
        samples = row_blocks.in_blocks(z, 32)
        shares = row_blocks.to_blocks(weights, samples.rows.shape[1] // parts, z)
        order = row_blocks.in_order(samples, shares)
        found = row_blocks.draw(samples, levels, shares)
        return order, found + samples.mean[None], samples.mean

    n = 198
    parts = 1
    _, expected, _ = drawn(x[:n], weights[:n])
    parts = 4
    order, found, mean = drawn(sharding.replicate(x[:n], mesh), weights[:n])
    np.testing.assert_array_equal(order, weights[:n])
    np.testing.assert_allclose(mean, x[:n].mean(axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


# The same on one device and on four.


def test_k_means_over_devices_equals_one_device(mesh, x, monkeypatch):
    # Several blocks on each device, more restarts than run at once.
    monkeypatch.setattr(kmeans, "_batching", lambda *_: (2, 16))
    one = k_means(KEY, x, 6, n_init=3)
    four = k_means(KEY, sharding.shard_rows(x, mesh), 6, n_init=3)
    np.testing.assert_array_equal(four.labels, one.labels)
    np.testing.assert_allclose(four.centroids, one.centroids, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(four.inertia, one.inertia, rtol=1e-5)
    assert four.labels.sharding.is_fully_replicated


def test_an_empty_cluster_takes_the_same_sample_over_devices(mesh, x):
    # The devices do not divide the rows, and two of the clusters start empty.
    initial = np.concatenate([x[:4], np.full((2, 8), 1e3, np.float32)])

    @jax.jit
    def moved(z):
        samples = row_blocks.in_blocks(z, 16)
        start = initial - samples.mean[None]
        return kmeans._lloyd(samples, start[None], 1, 0.0, 1).centroids[0]

    one, four = moved(x[:198]), moved(sharding.replicate(x[:198], mesh))
    np.testing.assert_allclose(four, one, rtol=1e-4, atol=1e-5)
    assert np.abs(one).max() < 100


def test_pretraining_over_devices_equals_one_device(mesh, x):
    (one, loss), (four, spread_loss) = (
        pretrain_end_to_end(KEY, rows, architecture=TINY, config=PRETRAIN)
        for rows in (x, sharding.shard_rows(x, mesh))
    )
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-5), four, one)
    np.testing.assert_allclose(spread_loss.loss, loss.loss, rtol=1e-5)
    assert all(leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(four))


def test_a_layer_sees_the_rows_where_they_are(mesh, x):
    params = init_params(KEY, TINY)
    stages = pretraining_stages(TINY, LayerwiseConfig(PRETRAIN, PRETRAIN))
    one, four = (
        _stage_input(1, params, rows, architecture=TINY, stages=stages)
        for rows in (jnp.asarray(x), sharding.shard_rows(x, mesh))
    )
    np.testing.assert_allclose(four, one, rtol=1e-5, atol=1e-6)
    assert four.sharding == sharding.shard_rows(x, mesh).sharding


@pytest.fixture(scope="module")
def start(x):
    params, _ = pretrain_end_to_end(KEY, x, architecture=TINY, config=PRETRAIN)
    found = k_means(KEY, embed(params, x, architecture=TINY), 4, n_init=2)
    return params, found.centroids, found.labels


@pytest.mark.parametrize(
    "objective, n",
    [
        (DEC(), 198),
        *(pytest.param(one, 200, marks=pytest.mark.slow) for one in (IDEC(), DCN())),
    ],
    ids=["dec, all rows on each device", "idec", "dcn"],
)
def test_clustering_over_devices_equals_one_device(
    mesh, x, start, objective, n, caplog
):
    config = replace(
        CONFIG,
        augmentation=Augmentation(masking=0.2),
        reseed_below=0.2,
        keep_cluster_sizes=True,
    )
    settings = {"architecture": TINY, "objective": objective, "config": config}
    params, centroids, labels = start

    def run(rows):
        state = init_state(
            KEY, params, centroids, labels[:n], objective=objective, config=config
        )
        return train(state, rows, **settings)

    place = sharding.shard_rows if n == 200 else sharding.replicate
    with jax.log_compiles():
        spread = run(place(x[:n], mesh))
    # The state that an interval leaves is placed as the one that it was given.
    said = " ".join(record.getMessage() for record in caplog.records)
    assert len(re.findall(r"Compiling (?:jit\()?_train_intervals", said)) == 1
    one = run(x[:n])
    np.testing.assert_array_equal(spread.labels, one.labels)
    np.testing.assert_allclose(spread.q, one.q, atol=1e-4)
    np.testing.assert_allclose(spread.history.loss, one.history.loss, rtol=1e-3)
    np.testing.assert_array_equal(
        spread.history.cluster_sizes, one.history.cluster_sizes
    )
    placed = jax.tree.leaves(spread.state)
    assert all(leaf.sharding.is_fully_replicated for leaf in placed)


# What travels between devices.


def transfers(compiled):
    """The collectives of a program: kind, and values of the largest array in each."""
    kinds = "all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter"
    found = []
    for types, kind in re.findall(
        rf"= (.*?) ({kinds})(?:-start)?\(", compiled.as_text()
    ):
        shapes = re.findall(r"\w\d+\[([\d,]*)\]", types)
        sizes = [math.prod(map(int, filter(None, s.split(",")))) for s in shapes]
        found.append((kind, max(sizes)))
    return found


def programs(x, start):
    """Compiled: an epoch of pretraining, k-means, an interval of clustering."""
    state = init_pretraining(KEY, architecture=TINY, config=PRETRAIN, n_samples=len(x))
    yield _pretrain_epochs.lower(
        sharding.replicate_like(state, x),
        x,
        **{"architecture": TINY, "config": PRETRAIN, "num_epochs": 1},
    )
    yield kmeans._k_means.lower(KEY, x, 6, 3, 300, 1e-4, 2, 16)
    state = init_state(KEY, *start, config=CONFIG)
    yield _train_intervals.lower(
        sharding.replicate_like(state, x),
        x,
        **{"architecture": TINY, "objective": DEC(), "config": CONFIG},
        num_intervals=1,
    )


def test_samples_stay_on_their_devices(mesh, x, start):
    for program in programs(sharding.shard_rows(x, mesh), start):
        found = transfers(program.compile())
        assert any(kind == "all-reduce" for kind, _ in found)
        # A batch, parameters, labels and q travel, 200 x 4; all of x would be 200 x 8.
        assert max(size for _, size in found) <= 200 * 4, found


def test_a_batch_is_shared_among_the_devices(mesh, x):
    spread = sharding.shard_rows(x, mesh)
    batch = jax.jit(sharding.take_rows)(spread, jnp.arange(60, 100))
    assert batch.sharding == NamedSharding(mesh, PartitionSpec("data"))
    np.testing.assert_array_equal(batch, x[60:100])
    plain = jax.jit(sharding.take_rows)(jnp.asarray(x), jnp.arange(60, 100))
    np.testing.assert_array_equal(plain, x[60:100])


def test_nothing_is_spread_where_each_device_has_rows_of_its_own(mesh, x):
    def own(rows):
        assert sharding.mesh_size(rows) == 1
        return sharding.take_rows(rows, jnp.arange(2))

    mapped = jax.shard_map(
        own, mesh=mesh, in_specs=PartitionSpec("data"), out_specs=PartitionSpec("data")
    )
    expected = x.reshape(4, 50, 8)[:, :2].reshape(8, 8)
    np.testing.assert_array_equal(mapped(sharding.shard_rows(x, mesh)), expected)


# Errors.


def test_shard_rows_rejects_rows_that_do_not_divide(mesh):
    message = (
        "The number of rows must be a multiple of the 4 devices of the mesh, got 10; leave 2 "
        "out, or place x by replicate"
    )
    with pytest.raises(ValueError, match=message):
        sharding.shard_rows(np.zeros((10, 2)), mesh)


@pytest.mark.parametrize("batch_size, fix", [(30, 28), (3, 4)])
def test_training_rejects_batches_that_do_not_divide(mesh, x, start, batch_size, fix):
    spread = sharding.shard_rows(x, mesh)
    message = (
        "batch_size must be a multiple of the 4 devices of the mesh, got "
        f"{batch_size}; use {fix}"
    )
    config = replace(PRETRAIN, batch_size=batch_size)
    with pytest.raises(ValueError, match=message):
        pretrain_end_to_end(KEY, spread, architecture=TINY, config=config)
    config = replace(CONFIG, batch_size=batch_size)
    state = init_state(KEY, *start, config=config)
    with pytest.raises(ValueError, match=message):
        train(state, spread, architecture=TINY, config=config)


def test_training_rejects_a_batch_of_all_samples_that_does_not_divide(mesh, x):
    rows = sharding.replicate(x[:50], mesh)
    with pytest.raises(ValueError, match="batch_size must be .* got 50; use 48"):
        pretrain_end_to_end(KEY, rows, architecture=TINY, config=PRETRAIN)
