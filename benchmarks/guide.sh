#!/usr/bin/env bash
# The guide of gwm-mini from nothing: demonstrations in the twin, and what is learned from them; resumes where it was killed.
# Two CPU cores take about an hour.
#   benchmarks/guide.sh [FOLDER]
set -euo pipefail
folder=${1:-runs/guide}
gwm=${GWM:-gwm}
mkdir -p "$folder"

# Numbers are enough for the policy: these are drawn plainly and quickly.
$gwm collect --env MuJoCo-BlockStack-v0 --policy scripted --rendering fast --episodes 400 --steps 36 --seed 50000 --out "$folder/stack-fast.hdf5"
$gwm collect --env MuJoCo-BlockGrasp-v0 --policy scripted --rendering fast --episodes 200 --steps 24 --seed 51000 --out "$folder/grasp-fast.hdf5"
$gwm collect --env MuJoCo-BlockReach-v0 --policy scripted --rendering fast --episodes 100 --steps 12 --seed 52000 --out "$folder/reach-fast.hdf5"
$gwm collect --env MuJoCo-BlockStack-v0 --policy mixed --rendering fast --episodes 400 --steps 80 --seed 53000 --out "$folder/mixed-fast.hdf5"
# Pictures teach how a robot stands in a goal picture, and what the model imagines along them.
$gwm collect --env MuJoCo-BlockStack-v0 --policy scripted --episodes 120 --steps 36 --seed 40000 --out "$folder/stack.hdf5"
$gwm collect --env MuJoCo-BlockGrasp-v0 --policy scripted --episodes 60 --steps 22 --seed 41000 --out "$folder/grasp.hdf5"
$gwm collect --env MuJoCo-BlockReach-v0 --policy scripted --episodes 30 --steps 12 --seed 42000 --out "$folder/reach.hdf5"
# A goal may be any moment, in which the robot stands as no demonstration ends.
$gwm collect --env MuJoCo-BlockStack-v0 --policy mixed --episodes 240 --steps 80 --seed 43000 --out "$folder/mixed.hdf5"

$gwm plan --demos "$folder"/{stack,grasp,reach,mixed,stack-fast,grasp-fast,reach-fast,mixed-fast}.hdf5 --guide "$folder/guide.safetensors"
cp "$folder/guide.safetensors" "$(dirname "$0")/../gwm_sim/pretrained/gwm-mini/"
