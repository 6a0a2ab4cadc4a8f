#!/usr/bin/env bash
# Trial: does gwm-mini obey hands that do not follow the script, once it has seen some? Records them and a policy that
# exploits the model, fine-tunes, and asks how often clumsy experts succeed in the learned world and in the twin.
#   benchmarks/handling.sh POLICY [FOLDER] [MINUTES]      POLICY as `benchmarks/policies.py` leaves it for the stack
set -euo pipefail
policy=$1
folder=${2:-runs/handling}
minutes=${3:-45}
gwm=${GWM:-gwm}
mkdir -p "$folder"

$gwm collect --episodes 250 --steps 80 --seed 30000 --policy handling --out "$folder/train-handling.hdf5"
$gwm collect --episodes 60 --steps 100 --seed 40000 --out "$folder/train-default.hdf5"
$gwm collect --episodes 40 --steps 100 --seed 50000 --properties random --out "$folder/train-random.hdf5"
$gwm collect --episodes 40 --steps 80 --seed 60000 --properties random --policy handling --out "$folder/train-handling-random.hdf5"
$gwm collect --episodes 60 --steps 80 --seed 70000 --policy "$policy" --out "$folder/train-policy.hdf5"
$gwm train --data "$folder"/train-{handling,policy,default,random,handling-random}.hdf5 --weights 1 1.5 1.5 1.5 1 \
    --init gwm-mini --keep-tokenizer --minutes "$minutes" --patience 1 --out "$folder/model" --resume

for model in gwm-mini "$folder/model"; do
    for task in stack grasp; do
        $gwm compare --policies scripted scripted:press=1 scripted:noise=0.3 scripted:lapse=0.2 --task "$task" \
            --model "$model" --episodes 40 --seed 200000 --rows 40 --json "$folder/$(basename "$model")-$task.json"
    done
done
