import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import autoencoders
from dec_jax.networks.autoencoder import encode_batch, scale_input
from dec_jax.training.pretrain import init_pretraining
from experiments.autoencoder_run import prepared
from experiments.autoencoders import Settings


@pytest.fixture
def images(tmp_path):
    """64 images of 8 x 8 bytes, as a user's own file."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (64, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", x=x, y=np.arange(64) % 2)
    return str(tmp_path / "images.npz")


def task_of(images, kind, epochs=1):
    return prepared(
        Settings(kind, dataset=images, epochs=epochs, batch_size=32, patience=epochs)
    )


def test_a_row_of_losses_and_one_of_rates(images):
    loss, rate = autoencoders.measure(task_of(images, "variational"), seeds=2)
    assert len(loss["losses"]) == 2
    assert loss["ours"] == pytest.approx(np.mean(loss["losses"]))
    assert rate["ours"] > 0
    for row in (loss, rate):
        assert (row["peer"] is None) == (row["ratio"] is None)
    assert autoencoders.spread(loss).startswith("ours ")


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
        # Of the variational one's twenty numbers the first ten are the means.
        z = theirs[:, : 16 if kind == "denoising" else 10]
        back = network.stack("decoder", torch.tensor(z)).shape
    ours = encode_batch(
        state.params, x, architecture=task.architecture, weights=jnp.full(4, 0.25)
    ).output
    if kind == "denoising":
        # Channels last here.
        theirs = theirs.transpose(0, 2, 3, 1).reshape(4, -1)
        assert tuple(back) == (4, 1, 8, 8)
    else:
        assert tuple(back) == (4, 64)
    np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-5)
