"""What a model's folder holds, and how it is shared: `from_pretrained`, `save_pretrained` and `push_to_hub`.

Where huggingface_hub is installed these are the methods of its mixin, and models have ids on the Hub. Where it is
not, the first two know plain folders, and the last says what to install. Either way a model is JSON, safetensors,
HDF5 and Markdown, never a pickle, and only an id of the Hub or `push_to_hub` uses the network.
"""

from __future__ import annotations

import shutil
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from gwm_sim.errors import MissingDependency

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
BANK_FILE = "bank.hdf5"  # start states: an episode file of a few frames each
COMPANIONS = (BANK_FILE, "guide.safetensors", "README.md", "report.json", "evaluation.json", "evaluation-long.json")
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
                raise needs_hub(f"pushing to {repo_id!r}")


class Shareable(ModelHubMixin, library_name="gwm_sim", license="apache-2.0", pipeline_tag="robotics"):
    """A model that is a folder on disk."""

    folder: Path | None = None
    """Where it was loaded from, None if it was not."""

    @abstractmethod
    def save(self, folder: str | Path) -> None:
        """Write configuration and weights."""

    @classmethod
    @abstractmethod
    def load(cls, model: str | Path, device: Any = None) -> Self:
        """Read a model from its folder."""

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
            raise needs_hub(f"{model_id!r} is no folder; taking it for an id of the Hugging Face Hub") from error
        return cls.load(
            snapshot_download(model_id, allow_patterns=[CONFIG_FILE, WEIGHTS_FILE, *COMPANIONS], **download), device
        )


def needs_hub(what: str) -> MissingDependency:
    return MissingDependency(f'{what} needs huggingface_hub: pip install "gwm-sim[hub]"')
