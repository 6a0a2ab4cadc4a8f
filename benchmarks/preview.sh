#!/usr/bin/env bash
# Data, weights and numbers of gwm-preview: what gwm-mini knows of robot and cubes, seen at 128 pixels by two cameras,
# with depth, and with futures that differ. Resumes where it was killed. Two CPU cores take about 50 minutes for the data,
# MINUTES for the model, and an hour for test data and numbers.
#   benchmarks/preview.sh [FOLDER] [MINUTES] [MOTION]
# MOTION is the folder in which mini.sh left what it recorded for its motion; without it robot and cubes learn from what is
# recorded here alone.
set -euo pipefail
folder=${1:-runs/gwm-preview}
minutes=${2:-90}
motion=${3:-runs/gwm-mini}
gwm=${GWM:-gwm}
mkdir -p "$folder"

record() {  # NAME SEED EPISODES STEPS OPTION...
    $gwm collect --out "$folder/$1.hdf5" --seed "$2" --episodes "$3" --steps "$4" --size 128 --cameras front wrist "${@:5}"
}

# 28,000 frames to see, of all kinds of handling; of some the depth too.
record see-handling 151000 75 80 --policy handling
record see-default 150000 60 100
record see-stack 155000 40 36 --policy scripted
record see-long 152000 12 500
record see-random 153000 25 100 --properties random
record see-loose 154000 40 60 --policy loose --properties random
record see-grasp 156000 20 22 --policy scripted --env MuJoCo-BlockGrasp-v0
record see-reach 157000 15 12 --policy scripted --env MuJoCo-BlockReach-v0
record see-depth 158000 30 80 --depth

# Motion with friction of every kind, of which gwm-mini saw little: whether a lift slips.
$gwm collect --out "$folder/slips.hdf5" --seed 141000 --episodes 700 --steps 80 --policy handling --properties random --rendering fast

moved=("$folder/slips.hdf5")
for name in handling default random handling-random loose stack long towers; do
    if [ -f "$motion/$name.hdf5" ]; then moved+=("$motion/$name.hdf5"); fi
done

# 56,000 frames more, of 7,000 moments out of that: what is drawn well has to be seen at many places.
scenes=("${moved[@]:1}")
if [ ${#scenes[@]} -eq 0 ]; then scenes=("${moved[@]}"); fi
${PYTHON:-python} "$(dirname "$0")/clips.py" --motion "${scenes[@]}" --clips 7000 --out "$folder/see-clips.hdf5"

seen=("$folder"/see-{default,clips,depth,grasp,handling,long,loose,random,reach,stack}.hdf5)
$gwm train --preset preview --init gwm-mini --camera front wrist --data "${seen[@]}" --motion "${moved[@]}" \
    --out "$folder/model" --name gwm-preview --minutes "$minutes" --rate 0.7 --patience 1 --resume

# Numbers: open loop on held-out episodes of 10 s with depth, and on some of a minute.
record test 300000 100 100 --depth
record test-long 310000 30 604
$gwm eval --model "$folder/model" --data "$folder/test.hdf5" --json "$folder/model/evaluation.json"
$gwm eval --model "$folder/model" --data "$folder/test-long.hdf5" --json "$folder/model/evaluation-long.json"
