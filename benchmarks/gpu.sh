#!/bin/sh
# What a training step of the tokenizer takes on a GPU, and what it waits for; in one call, made for less than ten minutes.
#
#     sh benchmarks/gpu.sh OUT    # tables, and the timings as JSON, go into this folder
set -eu
out=$1
mkdir -p "$out"
step="--preset port --batch-size 64 --steps 20"
{
    python benchmarks/tokenizer.py train $step --rounds 3 --compile --out "$out/ready.json"
    python benchmarks/tokenizer.py train $step --rounds 1 --loading --out "$out/loading.json"
    python benchmarks/tokenizer.py profile $step
    python benchmarks/convolutions.py --batch-size 64
} | tee "$out/tables.md"
