"""`DeepEmbeddedClustering`: `fit` as an estimator of scikit-learn."""

import re
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from dec_jax import model as models
from dec_jax.data.arrays import dataset_from_array
from dec_jax.data.dataset import Dataset
from dec_jax.evaluation.health import Health
from dec_jax.evaluation.label_free import silhouette
from dec_jax.evaluation.second_opinion import with_open_number
from dec_jax.model.inference import samples_for
from dec_jax.networks.own import Network
from dec_jax.recipes.adjust import adjust_recipe
from dec_jax.recipes.recipe import Recipe
from dec_jax.runs.choices import choose_recipe
from dec_jax.runs.fit import fit
from dec_jax.runs.k_search import resolve_n_clusters
from dec_jax.validation import check_n_clusters, shortened

WORST_SCORE = -1.0  # the least value of a silhouette


class DeepEmbeddedClustering(
    ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin, BaseEstimator
):
    """Clusters rows of numbers by `dec_jax.fit`, as scikit-learn's estimators do.

    It takes arrays and DataFrames of finite numbers, and works in pipelines and in
    `GridSearchCV`. Sparse matrices are refused: reduce them first, as with
    `make_pipeline(TruncatedSVD(50), DeepEmbeddedClustering())`. A fitted estimator can be
    copied and pickled, and then finds the same labels, bit for bit.

    Args:
      n_clusters: k, at least 1; "auto" looks for it, up to 20, as `dec-jax choose-k` does,
        whatever `random_state` is; "density" and "dip" look for it in other ways (see
        `find_n_clusters`).
      recipe: a name of `dec_jax.recipes.names.RECIPES`, or settings.
      network: takes the place of the recipe's own network.
      epochs: of pretraining, in place of the recipe's own; a recipe that does not pretrain
        on such data ignores it.
      max_intervals: the most intervals of clustering, in place of the recipe's own.
      batch_size: samples in a step, in place of the recipe's own.
      learning_rate: of clustering, in place of the recipe's own; the rates of pretraining
        change by the same factor.
      precision: "float32" or "bfloat16", of matrix products; None takes the one that these
        devices are faster in.
      retry: starts a phase again if it diverges, at a tenth of its learning rate, at most
        twice.
      standardize: False leaves the numbers as they are; otherwise they are divided by the
        root of their columns' mean variance, or by one scale for each column if their
        scales differ by far.
      image_shape: (height, width) or (height, width, channels) of images, which are given
        as rows; None for a table. Images of type uint8 are scaled from 0 to 255 to 0 to 1.
      baseline: also clusters X by k-means, and asks simple methods for a second opinion.
      random_state: an int gives the result of `fit` with that seed.

    Attributes:
      labels_: [n] int32, the cluster of each sample of `fit`, from 0 to k - 1.
      cluster_centers_: [k, e] float32, the centroids in the space of `transform`.
      n_iter_: gradient steps of clustering.
      stop_reason_: the reason why training ended, in words.
      retries_: the new attempts of phases that diverged, as `retries` of `FitResult`.
      health_: whether training was stable, and the numbers that this rests on.
      opinion_: whether the clusters can be trusted, by simple methods; None without
        `baseline`, for one cluster, or for few samples.
      history_: one row an interval of clustering.
      recommendation_: the number of clusters that "auto" found, and its reasons, or None.
      model_: what `dec_jax.model.save` takes apart and writes.
      n_features_in_: columns of X.
      feature_names_in_: their names, where X is a DataFrame whose columns have names.

    Example:
      >>> from dec_jax import DeepEmbeddedClustering
      >>> rng = np.random.default_rng(0)
      >>> x = np.concatenate([rng.normal(0, 1, (50, 4)), rng.normal(9, 1, (50, 4))])
      >>> dec = DeepEmbeddedClustering(2, max_intervals=3, random_state=0)
      >>> sorted(np.bincount(dec.fit_predict(x)).tolist())
      [50, 50]
      >>> dec.predict(x[:3]).tolist() == dec.labels_[:3].tolist()
      True
    """

    def __init__(
        self,
        n_clusters: int | str = 8,
        *,
        recipe: str | Recipe = "auto",
        network: Network | None = None,
        epochs: int | None = None,
        max_intervals: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        precision: str | None = None,
        retry: bool = False,
        standardize: bool = True,
        image_shape: Sequence[int] | None = None,
        baseline: bool = True,
        random_state: Any = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.recipe = recipe
        self.network = network
        self.epochs = epochs
        self.max_intervals = max_intervals
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.precision = precision
        self.retry = retry
        self.standardize = standardize
        self.image_shape = image_shape
        self.baseline = baseline
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> "DeepEmbeddedClustering":
        """Finds the clusters of the rows of X.

        Args:
          X: [n, d] finite numbers.
          y: ignored.

        Returns:
          The estimator itself.

        Raises:
          TypeError, ValueError: X or a setting is out of its range, in one line.

        Warns:
          ConvergenceWarning: the training was not stable.
        """
        x = self._checked(X, reset=True, ensure_min_samples=2)
        dataset = self._dataset(x, standardize=self.standardize)
        seed = self.random_state
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
            seed = check_random_state(seed).randint(np.iinfo(np.int32).max)
        if not isinstance(self.n_clusters, str):
            check_n_clusters(self.n_clusters, len(x))
        k, found = resolve_n_clusters(
            self.n_clusters,
            dataset,
            network=self.network,
            epochs=self.epochs,
            precision=self.precision,
        )
        k = int(k)
        settings = choose_recipe(
            self.recipe, dataset, k, network=self.network, precision=self.precision
        )
        settings = adjust_recipe(
            settings,
            epochs=None if settings.pretrain is None else self.epochs,
            max_intervals=self.max_intervals,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
        )
        result = fit(
            *(dataset, k),
            recipe=settings,
            seed=int(seed),
            retry=self.retry,
            baseline=self.baseline,
        )
        # Arrays of NumPy: a pickle must not ask for the devices of training.
        params = jax.device_get(result.model.params)
        self.model_ = replace(result.model, params=params)
        self.labels_ = result.labels
        self.cluster_centers_ = result.centroids
        self.n_iter_ = result.n_steps
        self.stop_reason_ = result.stop_reason
        self.retries_ = result.retries
        self.health_ = result.health
        self.opinion_ = result.opinion
        if found is not None and result.opinion is not None:
            self.opinion_ = with_open_number(result.opinion, found.others)
        self.history_ = result.history
        self.recommendation_ = found
        if not result.health.healthy:
            warnings.warn(in_python(result.health), ConvergenceWarning, stacklevel=2)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Assigns rows, in the units of those of `fit`, to the clusters: [m] int32."""
        return models.predict(self._fitted(), self._new(X))

    def predict_proba(self, X: Any) -> np.ndarray:
        """Computes q, the share of each cluster in each row: [m, k], rows sum to 1."""
        return models.predict_proba(self._fitted(), self._new(X))

    def transform(self, X: Any) -> np.ndarray:
        """Embeds rows: z, [m, e]."""
        return models.transform(self._fitted(), self._new(X))

    def score(self, X: Any, y: Any = None) -> float:
        """Computes the mean silhouette of the clusters of X, in the units of training.

        It needs no classes and sees no trained space, so that it compares recipes and
        numbers of clusters.

        Args:
          X: [m, d] rows, as in `predict`.
          y: ignored.

        Returns:
          The mean over at most 10,000 rows, in [-1, 1], higher is better; -1 where all rows
          are in one cluster, or each in one of its own.
        """
        dataset = self._new(X)
        labels = models.predict(self._fitted(), dataset)
        if not 1 < len(np.unique(labels)) < len(labels):
            return WORST_SCORE
        return silhouette(samples_for(self.model_, dataset), labels)

    @property
    def _n_features_out(self) -> int:
        """Columns of `transform`, for their names."""
        return self.cluster_centers_.shape[1]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    def _checked(self, X: Any, *, reset: bool, **options: Any) -> np.ndarray:
        """Checks X by the rules of scikit-learn; bytes stay bytes where they are pixels."""
        check_numbers(X)
        table = [np.float64, np.float32]
        dtype = table if self.image_shape is None else "numeric"
        return validate_data(self, X, reset=reset, dtype=dtype, **options)

    def _dataset(self, x: np.ndarray, *, standardize: bool) -> Dataset:
        """The rows as a `Dataset`, so that their units are known."""
        return dataset_from_array(
            x,
            image_shape=self.image_shape,
            name="X",
            source="X",
            standardize=standardize,
        )

    def _fitted(self) -> models.Model:
        """The trained model, or NotFittedError."""
        check_is_fitted(self)
        return self.model_

    def _new(self, X: Any) -> Dataset:
        """New rows, in the units that they are given in."""
        check_is_fitted(self)
        return self._dataset(self._checked(X, reset=False), standardize=False)


def check_numbers(X: Any) -> None:
    """Raises ValueError, with the columns and two ways out, for a table with other things.

    Example:
      >>> check_numbers(np.array([[30, 40], [50, 60]], object))
    """
    wrong = []
    if hasattr(X, "dtypes") and hasattr(X, "columns"):
        for place, title in enumerate(X.columns):
            column = X.iloc[:, place]
            kind = getattr(column.dtype, "kind", "O")
            if kind in "mM":
                wrong.append(f"{str(title)!r} (dates)")
            elif kind not in "biufc" and not _are_numbers(column):
                wrong.append(f"{str(title)!r} (texts)")
    elif getattr(getattr(X, "dtype", None), "kind", "") in ("O", "U") and X.ndim == 2:
        wrong = [
            f"{place} (texts)"
            for place, column in enumerate(X.T)
            if any(isinstance(value, str) for value in column)
            and not _are_numbers(column)
        ]
    if wrong:
        one = len(wrong) == 1
        raise ValueError(
            f"X must hold numbers alone, got column{'' if one else 's'} "
            f"{shortened(', '.join(wrong))}; encode {'it' if one else 'them'}, as with "
            "sklearn.preprocessing.OneHotEncoder, or leave texts, dates and gaps to "
            "dec_jax.fit(DataFrame, n_clusters) or the command dec-jax cluster."
        )


def _are_numbers(column: Any) -> bool:
    """Returns True for a column of another type whose values are numbers all the same."""
    try:
        np.asarray(column, np.float64)
    except (ValueError, TypeError):
        return False
    return True


def in_python(health: Health) -> str:
    """Joins the warnings on a training, without the options of the command.

    Example:
      >>> from dec_jax.evaluation.health import HealthWarning
      >>> found = HealthWarning("moving", "labels changed: train longer (--max-intervals)")
      >>> in_python(Health((found,), 0, 4, 6, 1.0, 0.9, 0.1, 0.2))
      'The training was not stable: labels changed: train longer.'
    """
    texts = "; ".join(warning.text for warning in health.warnings)
    texts = re.sub(r" \(--[^)]*\)", "", texts)
    return f"The training was not stable: {texts}."
