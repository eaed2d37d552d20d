"""Texts: a file of one document a line, a folder of text files, and a list."""

import json

import numpy as np
import pytest

from dec_jax.data.load import load_as_in_training, load_dataset
from dec_jax.data.text_space import text_space_from_json, text_space_to_json
from dec_jax.data.texts import dataset_from_texts, load_texts

FRUIT = "the {} of the tree is a {} fruit and it is sweet"
CARS = "there is a {} engine in the {} car that was on the road"
WORDS = ("red", "green", "old", "new", "small")
TEXTS = [
    kind.format(one, two) for one in WORDS for two in WORDS for kind in (FRUIT, CARS)
]


def weights_by_loops(texts, terms):
    """(1 + log count) times the inverse document frequency, rows of length 1."""
    n = len(texts)
    counts = np.array([[text.split().count(term) for term in terms] for text in texts])
    idf = [np.log((1 + n) / (1 + np.sum(column > 0))) + 1 for column in counts.T]
    rows = []
    for row in counts:
        weighted = [
            (1 + np.log(count)) * one if count else 0
            for count, one in zip(row, idf, strict=True)
        ]
        rows.append(np.array(weighted) / np.linalg.norm(weighted))
    return np.array(rows)


def test_rows_are_projected_weights_of_terms():
    data = dataset_from_texts(TEXTS)
    weights = weights_by_loops(TEXTS, data.text_space.terms)
    # All directions are kept here, so that angles between documents are those of terms.
    np.testing.assert_allclose(
        data.x @ data.x.T / data.x.shape[1], weights @ weights.T, atol=2e-2
    )
    np.testing.assert_allclose(np.square(data.x).mean(axis=1), 1, rtol=1e-5)


def test_terms_are_words_that_tell_documents_apart():
    data = dataset_from_texts([*TEXTS, "a single word: unique", "Engine2 ENGINE car"])
    terms = data.text_space.terms
    assert {"engine", "car", "fruit", "tree", "red"} <= set(terms)
    # English stop words, and a word in one document.
    assert not {"the", "of", "unique"} & set(terms)
    assert data.notes[0].startswith(
        f"texts: {len(terms)} words, without English stop words, weighed by TF-IDF, in"
    )


def test_stop_words_stay_where_texts_are_not_english():
    german = ["der Apfel am alten Baum", "das Auto an der Straße", "ein Baum am Auto"]
    data = dataset_from_texts(german)
    assert not data.text_space.stop_words
    assert "am" in data.text_space.terms


def test_scripts_without_spaces_are_cut_into_pairs():
    data = dataset_from_texts(
        ["機械学習の本", "深層学習の本", "赤い花が咲く", "白い花が咲く"]
    )
    assert data.text_space.pairs
    assert "学習" in data.text_space.terms
    near = data.x @ data.x.T
    assert near[0, 1] > near[0, 2]


def test_new_texts_are_converted_as_those_of_training():
    data = dataset_from_texts(TEXTS)
    stored = json.loads(json.dumps(text_space_to_json(data.text_space)))
    space = text_space_from_json(stored)
    new = dataset_from_texts([TEXTS[7], "nothing that was there before"], space=space)
    np.testing.assert_array_equal(new.x[0], data.x[7])
    assert not new.x[1].any()
    assert new.notes[1] == "1 without any of these (row 1)"
    assert text_space_from_json(text_space_to_json(None)) is None


def test_a_file_has_a_document_on_each_line(tmp_path):
    path = tmp_path / "docs.txt"
    path.write_text("\n".join([TEXTS[0], "", *TEXTS[1:]]) + "\n", encoding="utf-16")
    data = load_dataset(path)
    np.testing.assert_array_equal(data.x, dataset_from_texts(TEXTS).x)
    assert (data.name, data.names_title) == ("docs", "text")
    assert data.names[0] == TEXTS[0]
    assert data.source == f"txt file {path}"


def test_a_long_document_is_named_by_its_first_words():
    name = dataset_from_texts(["word " * 30, "another word"]).names[0]
    assert name == " ".join(["word"] * 11) + "..."


def test_a_folder_has_a_document_in_each_file(tmp_path):
    for index, text in enumerate(TEXTS):
        folder = tmp_path / "news" / ("cars" if "car" in text else "fruit")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{index:02d}.txt").write_text(text)
    (tmp_path / "news" / "readme.md").write_text("no document")
    data = load_dataset(tmp_path / "news", folder_labels=True)
    assert data.names[0] == "cars/01.txt"
    assert (data.names_title, data.n_classes) == ("file", 2)
    assert data.labels.tolist() == [0] * 25 + [1] * 25
    assert load_dataset(tmp_path / "news").labels is None


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["one"], "texts in memory: there must be at least 2 documents, got 1"),
        (["?", "!"], "texts in memory: no word is in several documents"),
        ([f"word{i}" for i in range(30)], "no word is in several documents"),
        (["one text"] * 30, "and missing in others, so that nothing can be compared"),
    ],
)
def test_dataset_from_texts_rejects_texts_that_cannot_be_compared(texts, message):
    with pytest.raises(ValueError, match=message):
        dataset_from_texts(texts)


def test_dataset_from_texts_rejects_what_is_no_text():
    with pytest.raises(TypeError, match="documents must be text, got int in row 1"):
        dataset_from_texts(["a", 1])


def test_load_texts_rejects_a_file_without_a_class(tmp_path):
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(ValueError, match="folder of its class, and a.txt is in none"):
        load_texts(tmp_path, folder_labels=True)


def test_load_texts_rejects_a_missing_and_a_wrong_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="The text file .* does not exist"):
        load_texts(tmp_path / "none.txt")
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="a.txt cannot be read: it is not in the enc"):
        load_texts(tmp_path / "a.txt")


def test_load_texts_rejects_a_table(tmp_path):
    (tmp_path / "iris.txt").write_text("5.1 3.5 1.4 0.2 setosa\n4.9 3.0 1.4 0.2 ape\n")
    with pytest.raises(ValueError, match="must hold texts, one a line, .* end in .csv"):
        load_texts(tmp_path / "iris.txt")


# New data of a model.


def test_new_data_are_read_by_their_kind(tmp_path):
    data = dataset_from_texts(TEXTS)
    (tmp_path / "new.txt").write_text("\n".join(TEXTS[:3]))
    for x in (tmp_path / "new.txt", TEXTS[:3]):
        found = load_as_in_training(x, None, data.text_space)
        np.testing.assert_array_equal(found.x, data.x[:3])
    assert load_as_in_training(np.eye(2), None, None) is None
    assert load_as_in_training("digits", None, None) is None


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("new.txt", {}, "the model was not trained on texts that dec_jax read"),
        ("new.csv", {}, "the model was not trained on a table that dec_jax read"),
    ],
)
def test_new_data_of_another_kind_are_refused(tmp_path, name, options, message):
    (tmp_path / name).write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=message):
        load_as_in_training(tmp_path / name, None, None, **options)


def test_an_option_of_other_data_is_refused(tmp_path):
    (tmp_path / "new.txt").write_text("\n".join(TEXTS[:3]))
    space = dataset_from_texts(TEXTS).text_space
    with pytest.raises(ValueError, match="label_column is not for texts, got .*'a'"):
        load_as_in_training(tmp_path / "new.txt", None, space, label_column="a")


def test_directions_in_which_no_text_lies_are_left_out():
    # Forty copies of the same few sentences span fewer directions than there are terms.
    few = ["cats purr softly", "dogs bark loudly", "birds sing early", "fish swim deep"]
    data = dataset_from_texts([few[i % 4] for i in range(40)])
    assert data.x.shape[1] <= 4
    new = dataset_from_texts(few * 3).x
    assert np.isfinite(new).all()
