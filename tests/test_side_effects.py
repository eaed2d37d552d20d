"""A program that imports and uses the library finds its own state as it was.

What packages do when they are first imported is theirs: scikit-learn sets two environment
variables, SciPy adds two filters of warnings, and rich, which flax imports, draws a number.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import locale, logging, os, random, signal, sys, warnings
import numpy as np
import flax.linen, jax, optax, scipy.sparse, scipy.special, sklearn.cluster


def state():
    words, *rest = np.random.get_state()[1:]
    return {
        "np.random": (words.tolist(), rest),
        "random": random.getstate(),
        "jax.config": dict(jax.config.values),
        "os.environ": dict(os.environ),
        "warnings": (list(warnings.filters), warnings.showwarning),
        "np.seterr": np.geterr(),
        "folder": os.getcwd(),
        "signals": [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)],
        "hook": sys.excepthook,
        "logging": (logging.root.level, list(logging.root.handlers)),
        "locale": locale.setlocale(locale.LC_ALL),
        "recursion": sys.getrecursionlimit(),
    }


np.random.seed(3), random.seed(4)
warnings.simplefilter("ignore", FutureWarning)
np.seterr(under="warn")
os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
x = np.random.normal(size=(60, 4)) + 8 * (np.arange(60) % 2)[:, None]
random.random()
before = state()
import dec_jax as dj

steps = {"import": state()}
network = dj.dense_architecture(4, hidden=(8,), embedding_dim=2)
settings = {"recipe": "dec", "network": network, "epochs": 1, "max_intervals": 1}
result = dj.fit(x, 2, **settings)
steps["fit"] = state()
result.predict(x)
steps["predict"] = state()
dj.DeepEmbeddedClustering(2, **settings, random_state=0).fit_predict(x)
steps["estimator"] = state()
print([
    (step, name)
    for step, after in steps.items()
    for name, value in after.items()
    if value != before[name]
])
"""


@pytest.mark.slow
def test_the_state_of_the_importing_program_stays_as_it_was():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"
