"""Parts that all training loops share: checks of samples, reasons to stop, results."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Num

from dec_jax.networks.own import Network, check_network
from dec_jax.objectives import Objective
from dec_jax.objectives.reconstruction import PretrainObjective, check_range
from dec_jax.training.state import (
    AnyArray,
    History,
    TrainConfig,
    TrainResult,
    TrainState,
)
from dec_jax.validation import check_magnitude, check_samples

STOPPED = "training was stopped by its caller"


def check_pretraining(
    x: AnyArray | None,
    validation: AnyArray | None,
    architecture: Network,
    objective: PretrainObjective,
) -> None:
    """Checks the data of pretraining; None skips the checks of that array."""
    check_network(architecture)
    objective.check(architecture)
    for name, samples in {"x": x, "validation": validation}.items():
        if samples is None:
            continue
        check_samples(samples, name)
        if samples.shape[1] != architecture.input_dim:
            raise ValueError(
                f"{name} must have {architecture.input_dim} columns, the architecture's "
                f"input, got shape {tuple(samples.shape)}."
            )
        bernoulli = architecture.output_activation == "sigmoid"
        if architecture.variational and bernoulli:
            check_range(samples, architecture, name)


def check_training(
    x: Num[Array | np.ndarray, "n d"],
    n_samples: int,
    architecture: Network,
    objective: Objective,
) -> None:
    """Raises TypeError or ValueError unless a state of `n_samples` can be trained on `x`."""
    check_network(architecture)
    check_samples(x)
    check_magnitude(x)
    if x.shape != (n_samples, architecture.input_dim):
        raise ValueError(
            f"x must have shape {(n_samples, architecture.input_dim)}, the state's "
            f"samples and the architecture's input, got {tuple(x.shape)}."
        )
    objective.check(x, architecture)


def stop_reason(state: TrainState, config: TrainConfig) -> str:
    """Tells in a clause why training has ended; an empty string if it has not."""
    # NaN gives every sample the same label, which would look like convergence.
    if not math.isfinite(float(jnp.sum(state.params["centroids"]))):
        return "training failed: the centroids are no longer finite; lower the learning rate"
    if bool(state.converged) and config.patience and int(state.settled) > 0:
        return (
            "training ended once labels had settled: none changed at "
            f"{int(state.settled)} refreshes in a row"
        )
    changed = f"{float(state.label_change):.4%} of labels changed between two refreshes"
    if bool(state.converged):
        return (
            f"training ended once labels had settled: {changed}, below the tolerance of "
            f"{config.tolerance:.4%}"
        )
    done = int(state.step) // config.update_interval
    if done < config.max_intervals:
        return ""
    intervals = f"{config.max_intervals} interval{'s' * (config.max_intervals > 1)}"
    if config.tolerance == 0:
        return f"training ended as planned, after {intervals}"
    # Of the last refresh, before the steps of the last interval.
    return (
        f"training ended at its limit of {intervals}, before labels had settled: "
        f"{changed}, the tolerance is {config.tolerance:.4%}"
    )


def kept_rows(rows: History, left: int) -> History:
    """Drops a program's rows after training has ended within it.

    Args:
      rows: the history of the program's intervals.
      left: number of intervals up to `max_intervals`, when the program started.
    """
    if rows.converged.any():
        left = min(left, int(rows.converged.argmax()) + 1)
    return jax.tree.map(lambda column: column[:left], rows)


def result_of(
    state: TrainState, q: AnyArray, labels: AnyArray, rows: list[History], reason: str
) -> TrainResult:
    """Assembles a result from the final state, its q and labels, and the history's rows.

    An empty `reason` means that training could go on: the caller has stopped it.
    """
    q = np.asarray(q)
    return TrainResult(
        state=state,
        labels=np.asarray(labels),
        q=q,
        centroids=np.asarray(state.params["centroids"]),
        history=join_history(rows, n_clusters=q.shape[1]),
        n_steps=int(state.step),
        stop_reason=reason or STOPPED,
    )


def join_history(rows: list[History], n_clusters: int) -> History:
    """Joins the rows of all calls into one history, with empty columns if there are none."""
    if not rows:
        column = np.zeros(0, np.float32)
        none = History(*[column] * len(History._fields))._replace(
            cluster_sizes=np.zeros((0, n_clusters), np.int32),
            converged=np.zeros(0, bool),
            reseeded=np.zeros(0, np.int32),
        )
        rows = [none]
    return jax.tree.map(lambda *columns: np.concatenate(columns), *rows)
