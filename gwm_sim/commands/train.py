"""`gwm train`: from episode files to a world model."""

from gwm_sim.files import write_json
from gwm_sim.training.config import TrainConfig as TrainConfig
from gwm_sim.training.distributed import is_first
from gwm_sim.training.pipeline import train


def main(config: TrainConfig) -> int:
    """Train, leave a complete checkpoint in `config.out`, and say how good it is."""
    report = train(config, tell=lambda line: print(line, flush=True))
    if not is_first():
        return 0
    if config.json is not None:
        write_json(config.json, report | {"model": str(config.out)})
    print("On validation episodes:", *report["words"], sep="\n  ")
    print(f"{config.out}: model {report['model_hash']}. Measure it:")
    print(f"gwm eval --model {config.out} --data TEST.hdf5 --json {config.out / 'evaluation.json'}")
    return 0
