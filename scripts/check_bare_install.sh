#!/usr/bin/env bash
# Install the package without extras into a new environment, and use its built-in pipeline there.
#
#   scripts/check_bare_install.sh FOLDER     # the environment and what it writes; FOLDER must not exist yet
#
# It needs a package index, and takes minutes. `tests/test_bare_install.py` checks as much as can be had without.
set -euo pipefail
[[ $# -eq 1 && ! -e $1 ]] || { echo "usage: scripts/check_bare_install.sh FOLDER, which must not exist yet" >&2; exit 2; }
source=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1"
cd "$1"

done_in() { # NAME COMMAND...: run a command, and print its seconds and the last line of its output
    local name=$1 start=$SECONDS
    shift
    "$@" >"$name.log" 2>&1 || { cat "$name.log" >&2; echo "$name: failed" >&2; exit 1; }
    echo "$name: $((SECONDS - start)) s; $(tail -n 1 "$name.log")"
}

refused() { # NAME EXTRA COMMAND...: a command must fail with one line that names the extra it needs
    local name=$1 extra=$2 code=0
    shift 2
    "$@" >"$name.log" 2>&1 || code=$?
    local line
    line=$(grep '^vqvae2: ' "$name.log" || true)
    [[ $code -eq 1 && $line == *"[$extra]"* && $line != *$'\n'* ]] || { cat "$name.log" >&2; echo "$name: not refused" >&2; exit 1; }
    echo "$name: $line"
}

done_in environment python3 -m venv environment
done_in install environment/bin/pip install --constraint "$source/constraints.txt" "$source"
export PATH=$PWD/environment/bin:$PATH
done_in import python -c 'import vqvae2; print(vqvae2.__version__)'
done_in sample vqvae2 sample builtin --out samples --num-images 2
done_in compress vqvae2 compress samples/000000.png --pipeline builtin --out files
done_in decompress vqvae2 decompress files --pipeline builtin --out images
mkdir -p classes/a classes/b
cp samples/000000.png classes/a/
cp samples/000001.png classes/b/
refused studio studio vqvae2 studio
refused lite0 eval vqvae2 train-classifier classes --out classifier --classifier lite0
builtin=$(python -c 'from pathlib import Path; import vqvae2; print(Path(vqvae2.__file__).parent / "builtin")')
refused evaluate eval vqvae2 evaluate "$builtin" --data classes --out evaluation
