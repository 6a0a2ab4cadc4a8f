#!/usr/bin/env bash
# Data, weights, start states and numbers of gwm-mini from nothing, into the package; resumes where it was killed.
#   benchmarks/mini.sh [FOLDER] [MINUTES]
set -euo pipefail
folder=${1:-runs/gwm-mini}
minutes=${2:-40}
gwm=${GWM:-gwm}
mkdir -p "$folder"

$gwm collect --episodes 700 --steps 100 --seed 0 --out "$folder/train-default.hdf5"
$gwm collect --episodes 500 --steps 100 --seed 10000 --properties random --out "$folder/train-random.hdf5"
$gwm collect --episodes 100 --steps 120 --seed 300000 --out "$folder/test.hdf5"
$gwm train --data "$folder/train-default.hdf5" "$folder/train-random.hdf5" --out "$folder/model" --minutes "$minutes" --resume
$gwm eval --model "$folder/model" --data "$folder/test.hdf5" --json "$folder/model/evaluation.json"

# Ship it, and write the tables of the READMEs.
shipped=$(dirname "$0")/../gwm_sim/pretrained/gwm-mini
mkdir -p "$shipped"
cp "$folder"/model/{config.json,model.safetensors,bank.hdf5,README.md,evaluation.json} "$shipped/"
${PYTHON:-python} "$(dirname "$0")/tables.py"
