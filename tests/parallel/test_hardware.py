"""Threads of the simple methods, in a process that has loaded nothing before."""

import subprocess
import sys

SCRIPT = """
from dec_jax.parallel.hardware import one_thread

@one_thread
def threads():
    import sklearn.cluster
    from threadpoolctl import threadpool_info
    return {library["num_threads"] for library in threadpool_info()}

print(threads())
"""


def test_libraries_that_are_loaded_inside_take_one_thread_too():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True
    )
    assert done.stdout == "{1}\n", done.stderr
