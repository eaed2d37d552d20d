import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import autoencoders
from dec_jax.networks.autoencoder import encode_batch, scale_input
from dec_jax.training.pretrain import init_pretraining


@pytest.fixture
def images(tmp_path):
    """64 images of 8 x 8 bytes, as a user's own file."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (64, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", x=x, y=np.arange(64) % 2)
    return str(tmp_path / "images.npz")


def task_of(images, kind, **options):
    return autoencoders.task_of(kind, images, epochs=1, batch_size=32, **options)


def test_a_row_of_losses_and_one_of_rates(images):
    loss, rate = autoencoders.measure(task_of(images, "variational"), seeds=2)
    assert len(loss["losses"]) == 2
    assert loss["ours"] == pytest.approx(np.mean(loss["losses"]))
    assert rate["ours"] > 0
    for row in (loss, rate):
        assert (row["peer"] is None) == (row["ratio"] is None)
    mean, sd = np.mean(loss["losses"]), np.std(loss["losses"], ddof=1)
    assert autoencoders.remark(loss).startswith(f"ours {mean:.5g} +- {sd:.2g}")
    assert autoencoders.remark(rate) == ""


def test_the_last_seventh_of_the_shuffled_samples_validates(images):
    task = task_of(images, "simple", limit=10)
    x = np.load(images)["x"].reshape(64, 64)
    order = np.random.default_rng(0).permutation(64)
    np.testing.assert_array_equal(task.x, x[order[:10]])
    np.testing.assert_array_equal(task.validation, x[order[55:]])


@pytest.mark.parametrize("kind", ["simple", "sparse"])
def test_training_starts_from_the_mean_image(images, kind, monkeypatch):
    monkeypatch.setattr(autoencoders, "WARM_UP", 1)
    task = task_of(images, kind)
    state = autoencoders.start(task, jax.random.key(0))
    mean = jax.nn.sigmoid(state.params["decoder"]["dense_3"]["bias"])
    # The first epoch of a sparse network has changed the bias a little.
    atol = 1e-6 if kind == "simple" else 0.05
    np.testing.assert_allclose(mean, task.x.mean(axis=0) / 255, atol=atol)
    assert int(state.step) == 0


@pytest.mark.parametrize("limit", [0, 56])
def test_task_of_rejects_a_wrong_limit(images, limit):
    with pytest.raises(ValueError, match=f"--limit must be from 1 to 55, .* {limit}."):
        task_of(images, "simple", limit=limit)


def test_task_of_rejects_a_denoising_network_of_a_table(tmp_path):
    np.save(tmp_path / "table.npy", np.zeros((9, 4), np.float32))
    with pytest.raises(ValueError, match="denoising takes images, and .* a table"):
        task_of(str(tmp_path / "table.npy"), "denoising")


def test_task_of_rejects_too_few_samples(tmp_path):
    np.save(tmp_path / "table.npy", np.zeros((6, 4), np.float32))
    with pytest.raises(ValueError, match="must hold at least 7 samples, got 6"):
        task_of(str(tmp_path / "table.npy"), "simple")


@pytest.mark.parametrize("kind", ["simple", "denoising", "variational"])
def test_pytorch_has_the_same_encoder_and_gives_our_parameters_back(images, kind):
    torch = pytest.importorskip("torch")
    task = task_of(images, kind)
    state = init_pretraining(
        jax.random.key(0),
        architecture=task.architecture,
        config=task.config,
        n_samples=len(task.x),
    )
    network = autoencoders._Torch(task, state.params)
    jax.tree.map(np.testing.assert_array_equal, network.params(), state.params)
    x = scale_input(task.x[:4], task.architecture)
    seen = torch.tensor(np.asarray(x))
    if kind == "denoising":
        seen = seen.reshape(4, 1, 8, 8)
    with torch.no_grad():
        theirs = network.stack("encoder", seen).numpy()
        # A variational encoder has twenty outputs, of which the first ten are the means.
        z = theirs[:, : 16 if kind == "denoising" else 10]
        back = network.stack("decoder", torch.tensor(z)).shape
    ours = encode_batch(
        state.params, x, architecture=task.architecture, weights=jnp.full(4, 0.25)
    ).output
    if kind == "denoising":
        # Channels are last here.
        theirs = theirs.transpose(0, 2, 3, 1).reshape(4, -1)
        assert tuple(back) == (4, 1, 8, 8)
    else:
        assert tuple(back) == (4, 64)
    np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-5)
