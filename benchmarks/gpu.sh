#!/bin/sh
# All questions to a GPU in one command of less than ten minutes. NOT YET RUN ON A GPU.
#
#     sh benchmarks/gpu.sh [FOLDER]      # default: runs/gpu
#
# Each step has a time limit and a log of its own in FOLDER; a step that fails or takes too
# long does not end the others. FOLDER/summary.txt has a line for each. DEC_JAX_DATA names the
# folder with MNIST. PYTHON is the interpreter (default: python), of an environment with
# ".[experiments,test,cuda13]"; PyTorch is compared with if it is installed there.
# SMALL=1 shortens all steps, to try the script where there is no GPU.

out=${1:-runs/gpu}
python=${PYTHON:-python}
cd "$(dirname "$0")/.." || exit 1
mkdir -p "$out" || exit 1
out=$(cd "$out" && pwd)
: > "$out/summary.txt"

# step LIMIT NAME COMMAND...: seconds, a name for the log, and what to run.
step() {
    limit=$(($1 * slower)) name=$2
    shift 2
    begin=$(date +%s)
    timeout "$limit" "$@" > "$out/$name.log" 2>&1
    status=$?
    text=ok
    [ $status -ne 0 ] && text="failed ($status)"
    [ $status -eq 124 ] && text="stopped after its limit"
    echo "$name: $text, $(($(date +%s) - begin)) s of $limit" | tee -a "$out/summary.txt"
}

cluster() {
    name=$1
    shift
    rm -rf "${out:?}/$name"
    step "$limit_of_run" "$name" "$python" -m dec_jax cluster "$data" --recipe best \
        --devices 1 --out "$out/$name" "$@"
}

data=mnist slower=1 limit_of_run=60 limit_of_pair=30 batches="256 4096" rounds=3 samples=16384
if [ -n "$SMALL" ]; then
    data=digits slower=10 batches=64 rounds=1 samples=256
fi
short=""
[ -n "$SMALL" ] && short="--epochs 1 --max-intervals 5"

step 25 devices "$python" -m dec_jax info
step 5 driver nvidia-smi

# What a GPU computes in another way: products, convolutions, k-means, the graph, training.
tests="tests/clustering/test_kmeans.py tests/clustering/test_neighbors.py
    tests/clustering/test_graph_sample.py tests/networks/test_precision.py
    tests/networks/test_convolution.py tests/training/test_cluster_step.py"
[ -n "$SMALL" ] && tests=tests/networks/test_precision.py
# shellcheck disable=SC2086
# Each worker takes the memory that it needs, not all there is.
step 90 tests env XLA_PYTHON_CLIENT_PREALLOCATE=false "$python" -m pytest -q -n 4 --dist loadfile -m "not slow" $tests

# shellcheck disable=SC2086
step 60 train_step "$python" -m benchmarks.train_step --batch $batches --rounds $rounds
# shellcheck disable=SC2086
step 45 throughput "$python" -m benchmarks.throughput --batch $batches --devices 1 \
    --rounds $rounds
step 45 seeds "$python" -m benchmarks.seeds --seeds 1 5 --rounds $rounds --samples $samples

# float32 products of full precision, twice; in the GPU's tf32; and in bfloat16. Then a pair of
# short runs whose additions have a fixed order: products with the graph are scatter-adds, which
# a GPU adds up in any order.
# shellcheck disable=SC2086
{
    JAX_DEFAULT_MATMUL_PRECISION=float32
    export JAX_DEFAULT_MATMUL_PRECISION
    cluster best-float32 --precision float32 $short
    cluster best-float32-again --precision float32 $short
    JAX_DEFAULT_MATMUL_PRECISION=tensorfloat32
    cluster best-tf32 --precision float32 $short
    unset JAX_DEFAULT_MATMUL_PRECISION
    cluster best-bfloat16 --precision bfloat16 $short
    XLA_FLAGS="--xla_gpu_deterministic_ops=true $XLA_FLAGS"
    export XLA_FLAGS
    limit_of_run=$limit_of_pair
    cluster fixed --precision float32 --limit 10000 --epochs 2 --max-intervals 5
    cluster fixed-again --precision float32 --limit 10000 --epochs 2 --max-intervals 5
}

step 10 comparison "$python" - "$out" <<'PYTHON'
import hashlib
import json
import sys
from pathlib import Path

out = Path(sys.argv[1])
for name in ("best-float32", "best-tf32", "best-bfloat16"):
    try:
        found = json.loads((out / name / "results.json").read_text())
    except OSError:
        print(f"{name}: no results")
        continue
    stages = {one["name"]: one.get("acc") for one in found["stages"]}
    seconds = {phase: round(took, 1) for phase, took in found["seconds"].items()}
    print(f"{name}: ACC {stages}, seconds {seconds}")
for name in ("best-float32", "fixed"):
    for file in ("history.csv", "model.safetensors", "labels.csv"):
        pair = [out / name / file, out / f"{name}-again" / file]
        if not all(path.is_file() for path in pair):
            print(f"{name}: {file} is missing")
            continue
        first, again = (hashlib.sha256(path.read_bytes()).digest() for path in pair)
        same = "equal bit for bit" if first == again else "NOT equal"
        print(f"{name}, twice: {file} is {same}")
PYTHON
cat "$out/comparison.log"
