#!/bin/sh
# What trainings take on a GPU, and what their steps wait for; each call is made for less than ten minutes.
#
#     sh benchmarks/gpu.sh OUT          # the step of the tokenizer against the port, and those of the gpu presets
#     sh benchmarks/gpu.sh OUT gpu64    # a whole run of the preset gpu64 on the built-in set
#
# Tables, and the timings as JSON, go into the folder OUT, the most wanted first: a limit of time cuts the others off.
set -u  # where one fails, the others still run
out=$1
mkdir -p "$out"
if [ "${2-}" = gpu64 ]; then
    vqvae2 run builtin: --out "$out/gpu64" --preset gpu64 --minutes 8
    exit
fi
step="--preset port --batch-size 64 --steps 20"
{
    python -m pytest -q tests/training/test_graphs.py tests/models/test_priors.py -k "graphed or captured"
    python benchmarks/tokenizer.py train $step --rounds 1 --compile --out "$out/ready.json"
    python benchmarks/tokenizer.py profile $step
    python benchmarks/steps.py gpu64 --profile --out "$out/gpu64.json"
    for preset in gpu128 gpu256; do
        python benchmarks/steps.py $preset --ways bfloat16 --out "$out/$preset.json"
    done
    python benchmarks/tokenizer.py train $step --rounds 1 --loading --out "$out/loading.json"
    python benchmarks/convolutions.py --batch-size 64
} | tee "$out/tables.md"
