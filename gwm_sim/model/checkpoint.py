"""Models as folders: saved, found, loaded, hashed and shared.

Where huggingface_hub is installed `from_pretrained`, `save_pretrained` and `push_to_hub` are the methods of its mixin,
and models have ids on the Hub. Where it is not, the first two know plain folders, and the last says what to install.
Either way a model is JSON, safetensors, HDF5 and Markdown, never a pickle, and only an id of the Hub or `push_to_hub`
uses the network.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gwm_sim.errors import CheckpointError
from gwm_sim.extras import missing
from gwm_sim.files import replacing, write_json
from gwm_sim.model.config import FORMAT, WorldModelConfig, written
from gwm_sim.model.tokenizer import Tokenizer
from gwm_sim.storage import trouble

SHIPPED = Path(str(resources.files("gwm_sim"))) / "pretrained"
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
BANK_FILE = "bank.hdf5"  # initial states: an episode file of a few frames each
STATES_FILE = "states.safetensors"  # states of recordings that were learned from, without pictures
CLONED_FILE = "cloned.safetensors"  # a policy that was cloned from these states
COMPANIONS = (
    BANK_FILE,
    STATES_FILE,
    CLONED_FILE,
    "guide.safetensors",
    "README.md",
    "report.json",
    "evaluation.json",
    "evaluation-long.json",
)
"""What goes with configuration and weights, where there is one."""

if TYPE_CHECKING:
    from huggingface_hub import ModelHubMixin
else:
    try:
        from huggingface_hub import ModelHubMixin
    except ImportError:

        class ModelHubMixin:
            """The mixin as far as it goes without the Hub."""

            def __init_subclass__(cls, **card: Any) -> None:
                super().__init_subclass__()

            def save_pretrained(self, save_directory: str | Path) -> None:
                self._save_pretrained(Path(save_directory))

            @classmethod
            def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **options: Any) -> Self:
                return cls._from_pretrained(model_id=str(pretrained_model_name_or_path), **options)

            def push_to_hub(self, repo_id: str, **options: Any) -> str:
                raise missing("huggingface_hub", f"pushing to {repo_id!r}")


class StoredModel(nn.Module, ModelHubMixin, library_name="gwm_sim", license="apache-2.0", pipeline_tag="robotics"):
    """A model that is a folder on disk."""

    config: WorldModelConfig
    tokenizer: Tokenizer
    folder: Path | None = None  # where it was loaded from, None if it was not

    def save(self, folder: str | Path) -> None:
        """Write `config.json` and `model.safetensors`, weights in half precision; each appears whole or not at all."""
        with replacing(Path(folder) / WEIGHTS_FILE) as temporary:
            save_file(stored_weights(self), temporary)
            with suppress(PermissionError):  # of storage that gives all files the same rights
                temporary.chmod(0o644)
        write_json(Path(folder) / CONFIG_FILE, self.config.to_json())

    @classmethod
    def load(cls, model: str | Path, device: str | torch.device | None = None) -> Self:
        """Load a shipped model by name, such as "gwm-mini", or any model by its folder.

        Args:
            model: Name or folder.
            device: Where to put it; None for a GPU if there is one, else the CPU.

        Raises:
            CheckpointError: There is no such model, or its files are incomplete or of another version.
        """
        folder = find_checkpoint(model)
        try:
            loaded = cls(read_config(folder))
            weights = load_file(folder / WEIGHTS_FILE)
            loaded.load_state_dict({k: v.float() if v.dtype == torch.float16 else v for k, v in weights.items()})
        except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
            if (why := trouble(error)) is not None and not isinstance(error, FileNotFoundError):
                raise CheckpointError(f"{folder} cannot be loaded: {why}") from error
            raise CheckpointError(
                f"{folder} is not a complete checkpoint (config.json, model.safetensors): {error}"
            ) from error
        device = torch.device(device or default_device())
        loaded.to(device).eval()
        loaded.folder = folder
        if multiplies_bfloat16(device):
            loaded.tokenizer.hasten()
        return loaded

    def digest(self) -> str:
        """Hash of configuration and weights: the identity that results carry."""
        return weights_digest(self, json.dumps(self.config.to_json(), sort_keys=True))

    def tokenizer_digest(self) -> str:
        """Hash of the tokenizer: the identity of latents."""
        return weights_digest(self.tokenizer, json.dumps(written(self.config.tokenizer), sort_keys=True))

    def _save_pretrained(self, save_directory: Path) -> None:
        self.save(save_directory)
        if self.folder is None or self.folder.resolve() == save_directory.resolve():
            return
        for name in COMPANIONS:
            if (self.folder / name).exists():
                shutil.copyfile(self.folder / name, save_directory / name)

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        device: Any = None,
        config: Any = None,  # that of the folder is read again, and checked, by `load`
        **download: Any,
    ) -> Self:
        if Path(model_id).is_dir():
            return cls.load(model_id, device)
        try:
            from huggingface_hub import snapshot_download
        except ImportError as error:
            purpose = f"{model_id!r} is no folder; taking it for an id of the Hugging Face Hub"
            raise missing("huggingface_hub", purpose) from error
        return cls.load(
            snapshot_download(model_id, allow_patterns=[CONFIG_FILE, WEIGHTS_FILE, *COMPANIONS], **download), device
        )


def read_config(folder: Path) -> WorldModelConfig:
    """Configuration of the model in a folder; one of another version is refused."""
    value = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    if value["format"] != FORMAT:
        advice = "upgrade gwm_sim" if value["format"] > FORMAT else "train it anew, or install an older gwm_sim"
        raise CheckpointError(
            f"{folder} has checkpoint format {value['format']}, this version reads {FORMAT}: {advice}"
        )
    return WorldModelConfig.from_json(value)


def stored_weights(module: nn.Module) -> dict[str, Tensor]:
    """Weights as a checkpoint holds them: parameters in half precision, which changes no code and halves the file."""
    parameters = {name for name, _ in module.named_parameters()}
    return {
        name: (value.half() if name in parameters else value).detach().cpu().contiguous()
        for name, value in module.state_dict().items()
    }


def weights_digest(module: nn.Module, text: str) -> str:
    """Hash of a text and of a module's weights as stored."""
    sha = hashlib.sha256(text.encode())
    for name, value in sorted(stored_weights(module).items()):
        sha.update(name.encode())
        sha.update(value.flatten().view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()[:16]


def shipped_models() -> list[str]:
    """Names of the models in the package."""
    return sorted(config.parent.name for config in SHIPPED.glob(f"*/{CONFIG_FILE}"))


def find_checkpoint(model: str | Path) -> Path:
    """Folder of a shipped model or of a path.

    Raises:
        CheckpointError: There is none; the message lists the shipped models.
    """
    path = Path(model)
    if (path / CONFIG_FILE).is_file():
        return path
    if path.name in (names := shipped_models()) and path.parent == Path("."):
        return SHIPPED / path.name
    raise CheckpointError(
        f"No model {str(model)!r}: give the name of a shipped one ({', '.join(names) or 'none here'}) "
        "or a folder with config.json and model.safetensors, as `gwm train` makes it"
    )


def default_device() -> str:
    """Where a model goes unless somebody says: to a GPU if there is one that this process can use."""
    if not torch.cuda.is_available():
        return "cpu"
    if torch.cuda._is_in_bad_fork():
        warnings.warn(
            "A forked process cannot use the GPU that its parent uses: this world runs on the CPU. "
            'Start processes by "spawn" instead, as in vector_kwargs={"context": "spawn"} of gymnasium.make_vec.',
            stacklevel=2,
        )
        return "cpu"
    return "cuda"


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether matrix products in bfloat16 are faster than in float32: told by the processor, not measured, so that a
    busy machine computes the same as an idle one."""
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return device.type == "cuda"
