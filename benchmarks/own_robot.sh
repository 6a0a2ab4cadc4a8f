#!/usr/bin/env bash
# A world of Gymnasium-Robotics' Fetch from nothing, and its numbers for the README. Nothing of it is shipped.
# Two CPU cores take about 5 minutes for 24,000 frames to train on and 3,600 to test, and MINUTES for the model.
#   benchmarks/own_robot.sh [FOLDER] [MINUTES]
set -euo pipefail
folder=${1:-runs/fetch}
minutes=${2:-40}
here=$(dirname "$0")
python=${PYTHON:-python}

$python "$here/../examples/own_robot.py" --out "$folder" --episodes 400 --tests 60 --train="--minutes $minutes"
cp "$folder/evaluation.json" "$here/results/own_robot.json"
$python "$here/tables.py"
