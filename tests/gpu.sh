#!/usr/bin/env bash
# What only a GPU can prove, in the order in which to look: kernels, waiting, compiling, then speed and memory.
# Usage: tests/gpu.sh [python]. Detectron2 is measured beside where it is installed.
set -uo pipefail
cd "$(dirname "$0")/.."
python=${1:-python}
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
failed=0

run() {
    echo "== $*"
    "$@" || { failed=1; echo "== FAILED: $*"; }
}

# 1. Every Triton kernel against plain operations; one that falls back warns, which counts as a failure.
run "$python" -m pytest -q -rs tests/layers/kernels tests/layers/suppression \
    tests/layers/test_roi_align_pyramid.py -W error::RuntimeWarning
# 2. A step that waits for the device raises, plain and compiled, in every precision.
run "$python" -m pytest -q -rs tests/modeling/test_training_step.py tests/modeling/test_no_waiting.py \
    tests/modeling/test_batched_detection.py tests/data/loading/test_prefetch.py tests/modeling/test_fusion.py
# 3. The training step, plain and compiled, and inference, beside the peers; the second run is with a warm cache.
run "$python" tools/benchmark.py train inference --rounds 5 --json gpu_cold.json
run "$python" tools/benchmark.py train --rounds 5 --json gpu_warm.json
exit $failed
