#!/usr/bin/env bash
# Data, weights, start states and numbers of gwm-mini from nothing, into the package; resumes where it was killed.
# Two CPU cores take 35 to 65 minutes for the data (a rendered frame costs 10 to 40 ms without a GPU), MINUTES for the
# model, and half an hour or more for test data and numbers.
#   benchmarks/mini.sh [FOLDER] [MINUTES] [more]
# With `more` all is recorded that the shipped gwm-mini learned from, about half an hour more: the longer it may learn, the
# more it needs. Then bodies go on with longer rollouts for MINUTES more.
set -euo pipefail
folder=${1:-runs/gwm-mini}
minutes=${2:-50}
more=${3:-}
gwm=${GWM:-gwm}
mkdir -p "$folder"

record() {  # NAME SEED EPISODES STEPS OPTION...
    $gwm collect --out "$folder/$1.hdf5" --seed "$2" --episodes "$3" --steps "$4" "${@:5}"
}

# 80,000 frames to see: what people do with cubes and what goes wrong, for 10 s and for a minute, after which cubes lie
# at the edges and on each other; strikes and drops, hands of every quality, experts, other physics.
record see-default 40000 120 100
record see-long 45000 40 500
record see-long2 46000 40 500
record see-handling 30000 140 80 --policy handling
record see-loose 125000 100 60 --policy loose --properties random
record see-random 50000 50 100 --properties random
record see-stack 41000 100 36 --policy scripted
record see-grasp 42000 60 22 --policy scripted --env MuJoCo-BlockGrasp-v0
record see-reach 43000 30 12 --policy scripted --env MuJoCo-BlockReach-v0

# 393,000 frames of motion alone, of which the pictures are not looked at.
record handling 90000 1000 80 --policy handling --rendering fast
record default 80000 1200 100 --rendering fast
record random 100000 400 100 --properties random --rendering fast
record handling-random 110000 400 80 --policy handling --properties random --rendering fast
record loose 120000 400 60 --policy loose --properties random --rendering fast
record stack 70000 400 36 --policy scripted --rendering fast
record long 130000 100 600 --rendering fast
record towers 140000 231 80 --policy towers --rendering fast

motion=(handling default random handling-random loose stack long towers)
moved=("${motion[@]/#/$folder/}")
moved=("${moved[@]/%/.hdf5}")

# 48,000 frames more to see, of 6,000 moments out of that: what is located and drawn well has to be seen at many places.
${PYTHON:-python} "$(dirname "$0")/clips.py" --motion "${moved[@]}" --clips 6000 --size 64 --cameras front --seed 1 \
    --out "$folder/see-clips.hdf5"

seen=("$folder"/see-{default,clips,grasp,handling,long,long2,loose,random,reach,stack}.hdf5)

if [ "$more" = more ]; then
    # 48,000 frames to see of where cubes seldom lie, 929,000 of motion, and all motion in a mirror.
    ${PYTHON:-python} "$(dirname "$0")/clips.py" --motion "${moved[@]}" --clips 6000 --size 64 --cameras front --seed 2 \
        --alike places --out "$folder/see-rare.hdf5"
    seen+=("$folder/see-rare.hdf5")
    record default2 230000 3000 100 --rendering fast --size 16
    record handling2 220000 3000 80 --policy handling --rendering fast --size 16
    record towers2 260000 1000 80 --policy towers --rendering fast --size 16
    record handling-random2 250000 800 80 --policy handling --properties random --rendering fast --size 16
    record random2 240000 800 100 --properties random --rendering fast --size 16
    record loose2 270000 600 60 --policy loose --properties random --rendering fast --size 16
    record long2 280000 200 600 --rendering fast --size 16
    motion+=(default2 handling2 towers2 handling-random2 random2 loose2 long2)
    moved=()
    for name in "${motion[@]}"; do
        ${PYTHON:-python} "$(dirname "$0")/mirror.py" --motion "$folder/$name.hdf5" --out "$folder/$name-mirrored.hdf5"
        moved+=("$folder/$name.hdf5" "$folder/$name-mirrored.hdf5")
    done
fi

$gwm train --data "${seen[@]}" --motion "${moved[@]}" \
    --drawing latents --out "$folder/model" --name gwm-mini --minutes "$minutes" --patience 1 --resume
model=$folder/model

if [ "$more" = more ]; then
    # Rollouts of 60 frames teach what comes of an error. Shorter ones take turns with them, since strikes and drops are
    # short, and those recordings of other physics are drawn more often.
    weights=()
    for file in "${seen[@]}" "${moved[@]}"; do
        case ${file##*/} in *loose*) weights+=(6) ;; *random*) weights+=(3) ;; *) weights+=(1) ;; esac
    done
    $gwm train --init "$model" --phases dynamics --data "${seen[@]}" --motion "${moved[@]}" --weights "${weights[@]}" \
        --rollouts 20 60 --batch 3 --rate 0.6 --out "$folder/longer" --name gwm-mini --minutes "$minutes" --patience 1 \
        --resume
    model=$folder/longer
fi

# Numbers: open loop on held-out episodes of 10 s, and on some of a minute.
record test 300000 100 100
record test-long 310000 30 604
$gwm eval --model "$model" --data "$folder/test.hdf5" --json "$model/evaluation.json"
$gwm eval --model "$model" --data "$folder/test-long.hdf5" --json "$model/evaluation-long.json"

# Ship it, and write the tables of the READMEs.
shipped=$(dirname "$0")/../gwm_sim/pretrained/gwm-mini
mkdir -p "$shipped"
cp "$model"/{config.json,model.safetensors,bank.hdf5,README.md,evaluation.json,evaluation-long.json} "$shipped/"
${PYTHON:-python} "$(dirname "$0")/tables.py"
