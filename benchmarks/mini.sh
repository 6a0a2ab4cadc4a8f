#!/usr/bin/env bash
# Data, weights, start states and numbers of gwm-mini from nothing, into the package; resumes where it was killed.
# Two CPU cores take about 25 minutes for the data, MINUTES for the model, and a quarter of an hour for test data and numbers.
#   benchmarks/mini.sh [FOLDER] [MINUTES]
set -euo pipefail
folder=${1:-runs/gwm-mini}
minutes=${2:-52}
gwm=${GWM:-gwm}
mkdir -p "$folder"

# 101,000 frames: what people do with cubes and what goes wrong, some of it under other physics; cubes struck and dropped.
$gwm collect --episodes 600 --steps 100 --seed 0 --out "$folder/train-default.hdf5"
$gwm collect --episodes 250 --steps 100 --seed 10000 --properties random --out "$folder/train-random.hdf5"
$gwm collect --episodes 250 --steps 60 --seed 20000 --properties random --policy loose --out "$folder/train-loose.hdf5"
$gwm train --data "$folder"/train-{default,random,loose}.hdf5 --out "$folder/model" --minutes "$minutes" --patience 1 --resume

# Numbers: open loop on held-out episodes of 10 s, and on some of a minute.
$gwm collect --episodes 100 --steps 100 --seed 300000 --out "$folder/test.hdf5"
$gwm collect --episodes 30 --steps 604 --seed 310000 --out "$folder/test-long.hdf5"
$gwm eval --model "$folder/model" --data "$folder/test.hdf5" --json "$folder/model/evaluation.json"
$gwm eval --model "$folder/model" --data "$folder/test-long.hdf5" --json "$folder/model/evaluation-long.json"

# Ship it, and write the tables of the READMEs.
shipped=$(dirname "$0")/../gwm_sim/pretrained/gwm-mini
mkdir -p "$shipped"
cp "$folder"/model/{config.json,model.safetensors,bank.hdf5,README.md,evaluation.json,evaluation-long.json} "$shipped/"
${PYTHON:-python} "$(dirname "$0")/tables.py"
