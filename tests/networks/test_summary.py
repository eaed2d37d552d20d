import json

import pytest

from dec_jax.cli.main import main
from dec_jax.networks.architecture import (
    Architecture,
    Conv2D,
    Dense,
    MaxPool2D,
    Reshape,
    dense_architecture,
)
from dec_jax.networks.architecture_json import (
    architecture_from_json,
    shipped_architectures,
)
from dec_jax.networks.summary import draw, network_string, parameter_counts

SMALL = Architecture(
    (6, 5, 1),
    (Conv2D(2, (3, 2), strides=(1, 2)), MaxPool2D((2, 2), "same"), Dense(3, "linear")),
    batch_norm=True,
)


def test_network_string_of_the_published_example():
    # The values of the example in the README of Aljalbout et al., and its answer.
    five = '"filter_size": [5, 5], "num_filters": 50, "non_linearity": "rectify"'
    pool = '{"filter_size": [2, 2], "type": "MaxPool2D*"}'
    text = f"""
    {{"batch_size": 100, "use_batch_norm": 1, "name": "example", "layers": [
        {{"type": "Input", "output_shape": [1, 28, 28]}},
        {{"type": "Conv2D", {five}}}, {pool}, {{"type": "Conv2D", {five}}}, {pool},
        {{"type": "Conv2D", "filter_size": [4, 4], "num_filters": 120,
          "non_linearity": "linear"}}]}}
    """
    architecture = architecture_from_json(json.loads(text)).architecture
    assert network_string(architecture) == (
        "50[5x5] 50[5x5]_bn max[2x2] 50[5x5] 50[5x5]_bn max[2x2] 120[4x4] 120[4x4]_bn "
        "50[4x4] 50[4x4]_bn ups*[2x2] 50[5x5] 50[5x5]_bn ups*[2x2] 1[5x5]"
    )


def test_network_string_shows_strides_reshapes_and_widths():
    layers = (Reshape((4, 4, 1)), Conv2D(3, (3, 2), strides=(1, 2)), Dense(2))
    assert network_string(Architecture((16,), layers)) == (
        "rsh 3[3x2]/1x2 fc[2] fc[12] 1[3x2]/1x2 rsh"
    )


def test_parameter_counts_of_the_papers_network():
    encoder, decoder = parameter_counts(dense_architecture(784))
    assert encoder == (784 * 500 + 500, 500 * 500 + 500, 500 * 2000 + 2000, 20_010)
    assert decoder == (10 * 2000 + 2000, 1_000_500, 500 * 500 + 500, 500 * 784 + 784)


def test_parameter_counts_takes_in_scale_and_bias_of_batch_norm():
    encoder, decoder = parameter_counts(SMALL)
    # After the convolution 4 x 2 x 2 values, after the pool 2 x 1 x 2.
    assert encoder == (3 * 2 * 1 * 2 + 2 + 2 * 2, 0, 4 * 3 + 3)
    assert decoder == (3 * 4 + 4, 0, 3 * 2 * 2 * 1 + 1)


def test_parameter_counts_of_a_variational_network_has_a_mean_and_a_log_variance():
    layers = (Dense(4), Dense(3, "linear"))
    encoder, _ = parameter_counts(Architecture((5,), layers, variational=True))
    assert encoder == (5 * 4 + 4, 4 * 6 + 6)


def test_draw_shows_every_layer():
    assert draw(SMALL, "small").splitlines() == [
        "small: 6x5x1 -> z of 3, glorot_uniform, integers times 0.00392157",
        "encoder                                        output  parameters",
        "  Input                                         6x5x1",
        "  Conv2D 2 3x2, strides 1x2, batch norm, relu   4x2x2          18",
        "  MaxPool2D 2x2, same                           2x1x2",
        "  Dense 3                                           3          15",
        "decoder",
        "  Dense 4, relu                                 2x1x2          16",
        "  Unpool2D 2x2                                  4x2x2",
        "  Deconv2D 1 3x2, strides 1x2                   6x5x1          13",
        "total                                                          62",
    ]


def test_draw_without_a_name_begins_with_the_shapes():
    text = draw(Architecture((5,), (Dense(2),), "linear", "he_normal", 0.5))
    assert text.startswith("5 -> z of 2, he_normal, integers times 0.5\n")


def test_experiment_lists_every_shipped_architecture(capsys):
    assert main(["architectures"]) == 0
    rows = capsys.readouterr().out.splitlines()[1:]
    assert [row.split()[0] for row in rows] == list(shipped_architectures())
    assert (
        "dense                    10   3,330,794  fc[500] fc[500] fc[2000] fc"
        in rows[3]
    )


def test_experiment_draws_those_that_are_named(capsys, tmp_path):
    layers = [
        {"type": "Input", "output_shape": [6]},
        {"type": "Dense", "num_units": 2, "non_linearity": "linear"},
    ]
    path = tmp_path / "mine.json"
    path.write_text(json.dumps([{"name": name, "layers": layers} for name in "ab"]))
    assert main(["architectures", "dense", str(path)]) == 0
    out = capsys.readouterr().out
    titles = [line.split(":")[0] for line in out.splitlines() if " -> " in line]
    assert titles == ["dense", "a", "b"]
    assert out.endswith("\nfc[2] fc[6]\n")


@pytest.mark.parametrize(
    "name, message",
    [("dens", "Unknown architecture 'dens'"), ("no/such.json", "cannot be read")],
)
def test_experiment_answers_a_mistake_in_one_line(name, message, capsys):
    assert main(["architectures", "dense", name]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
    assert message in captured.err


def test_experiment_answers_an_unknown_option(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["architectures", "--color"])
    assert stopped.value.code == 2
    assert "there is no option --color" in capsys.readouterr().err
