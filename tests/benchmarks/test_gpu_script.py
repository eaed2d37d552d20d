"""The script for a GPU, which no test here can run."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = (ROOT / "benchmarks/gpu.sh").read_text()


def test_script_is_a_shell_program_and_says_that_it_is_untried():
    done = subprocess.run(["sh", "-n", ROOT / "benchmarks/gpu.sh"], capture_output=True)
    assert done.returncode == 0, done.stderr
    assert "NOT YET RUN ON A GPU" in SCRIPT


def test_limits_of_all_steps_together_are_below_ten_minutes():
    steps = [int(limit) for limit in re.findall(r"^step (\d+) ", SCRIPT, re.M)]
    one, pair = (
        int(re.search(rf"limit_of_{name}=(\d+)", SCRIPT)[1]) for name in ("run", "pair")
    )
    names = re.findall(r"^ +cluster (\S+)", SCRIPT, re.M)
    pairs = [name for name in names if name.startswith("fixed")]
    assert len(steps) == 7 and len(names) == 6 and len(pairs) == 2
    assert sum(steps) + one * (len(names) - 2) + pair * 2 < 600


def test_tests_of_the_script_exist():
    files = re.findall(r"tests/\w+/test_\w+\.py", SCRIPT)
    assert len(files) > 5
    assert [name for name in files if not (ROOT / name).is_file()] == []
