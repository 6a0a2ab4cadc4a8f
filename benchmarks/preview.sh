#!/usr/bin/env bash
# Data, weights and numbers of gwm-preview: what gwm-mini knows of robot and cubes, seen at 128 pixels by two cameras,
# with depth, and with futures that differ. Resumes where it was killed. Two CPU cores take over an hour for the data, twice
# MINUTES for the model, and over an hour for test data and numbers.
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

# 96,000 frames more, of 12,000 moments out of that, 5,000 of them where cubes seldom lie: what is drawn well has to be
# seen at many places.
scenes=("${moved[@]:1}")
if [ ${#scenes[@]} -eq 0 ]; then scenes=("${moved[@]}"); fi
${PYTHON:-python} "$(dirname "$0")/clips.py" --motion "${scenes[@]}" --clips 7000 --out "$folder/see-clips.hdf5"
${PYTHON:-python} "$(dirname "$0")/clips.py" --motion "${scenes[@]}" --clips 5000 --seed 2 --alike places \
    --out "$folder/see-rare.hdf5"

seen=("$folder"/see-{default,clips,depth,grasp,handling,long,loose,random,reach,stack,rare}.hdf5)
$gwm train --preset preview --init gwm-mini --camera front wrist --data "${seen[@]}" --motion "${moved[@]}" \
    --out "$folder/model" --name gwm-preview --minutes "$minutes" --rate 0.7 --patience 1 --resume

# Then bodies alone, with longer rollouts and with all motion that mini.sh left, as there.
${PYTHON:-python} "$(dirname "$0")/mirror.py" --motion "$folder/slips.hdf5" --out "$folder/slips-mirrored.hdf5"
moved+=("$folder/slips-mirrored.hdf5")
for file in "$motion"/{*2,*-mirrored}.hdf5; do
    case ${file##*/} in see-* | *"*"*) ;; *) moved+=("$file") ;; esac
done
weights=()
for file in "${seen[@]}" "${moved[@]}"; do
    case ${file##*/} in *loose*) weights+=(6) ;; *random* | *slips*) weights+=(3) ;; *) weights+=(1) ;; esac
done
$gwm train --preset preview --init "$folder/model" --phases dynamics --camera front wrist --data "${seen[@]}" \
    --motion "${moved[@]}" --weights "${weights[@]}" --rollouts 20 60 --batch 3 --rate 0.8 --out "$folder/longer" \
    --name gwm-preview --minutes "$minutes" --patience 1 --resume

# Numbers: open loop on held-out episodes of 10 s with depth, and on some of a minute.
record test 300000 100 100 --depth
record test-long 310000 30 604
$gwm eval --model "$folder/longer" --data "$folder/test.hdf5" --json "$folder/longer/evaluation.json"
$gwm eval --model "$folder/longer" --data "$folder/test-long.hdf5" --json "$folder/longer/evaluation-long.json"
