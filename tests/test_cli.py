"""`gwm` imports only the chosen verb, and turns expected errors into one message and an exit code."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

import gwm_sim
from gwm_sim import cli
from gwm_sim.commands import doctor
from gwm_sim.errors import DataError

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class EchoConfig:
    """Options of a verb made for these tests."""

    data: tuple[Path, ...]
    """Files to name."""
    exit_code: int = 0
    """What to return."""
    error: str = ""
    """Name of the error to raise."""


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add a verb that prints its options, or fails as it is told."""

    def main(config: EchoConfig) -> int:
        match config.error:
            case "data":
                raise DataError("broken.hdf5: demo_3 ends at row 7, expected 80. Collect it again.")
            case "mujoco":
                raise ModuleNotFoundError("No module named 'mujoco'", name="mujoco")
            case "stranger":
                raise ModuleNotFoundError("No module named 'stranger'", name="stranger")
            case "interrupt":
                raise KeyboardInterrupt
        print(*config.data)
        return config.exit_code

    module = ModuleType("verbs.echo")
    module.__dict__.update(EchoConfig=EchoConfig, main=main)
    monkeypatch.setitem(sys.modules, "verbs.echo", module)
    monkeypatch.setitem(cli.VERBS, "echo", cli.Verb("verbs", "Print the options"))


def test_a_verb_is_the_file_of_its_name_in_a_folder_of_commands() -> None:
    folders = {cli.CORE: "gwm_sim", cli.ENVS: "envs", cli.POLICIES: "policies"}
    expected = {
        ROOT / folders[verb.package] / "commands" / f"{cli.module_of(name).rpartition('.')[2]}.py"
        for name, verb in cli.VERBS.items()
    }
    found = {path for folder in folders.values() for path in (ROOT / folder / "commands").glob("*.py")}
    assert expected == found - {path for path in found if path.name == "__init__.py"}


@pytest.mark.parametrize(
    ("name", "module", "config"),
    [
        ("inspect", "gwm_sim.commands.inspect", "InspectConfig"),
        ("import", "gwm_sim.commands.import_", "ImportConfig"),
        ("policy-server", "gwm_sim.policies.commands.policy_server", "PolicyServerConfig"),
    ],
)
def test_module_and_options_follow_from_the_name(
    name: str, module: str, config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(cli.VERBS, "policy-server", cli.Verb(cli.POLICIES, ""))
    assert (cli.module_of(name), cli.config_of(name)) == (module, config)


@pytest.mark.parametrize("name", cli.VERBS)
def test_every_verb_has_options_and_a_main(name: str) -> None:
    module = pytest.importorskip(cli.module_of(name), exc_type=ImportError)
    assert hasattr(module, cli.config_of(name)) and callable(module.main)


def test_help_lists_every_verb_without_importing_one() -> None:
    program = """
import sys, time
from gwm_sim.cli import main
code = main(["--help"])
assert not {"torch", "mujoco", "tyro", "h5py"} & set(sys.modules)
assert time.process_time() < 1.0
sys.exit(code)
"""
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    for name, verb in cli.VERBS.items():
        assert f"  {name}" in result.stdout and verb.help in result.stdout


def test_no_verb_shows_the_overview_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert "usage: gwm VERB" in capsys.readouterr().out


def test_unknown_verb_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["colect"]) == 2
    assert "Did you mean `gwm collect`?" in capsys.readouterr().err


@pytest.mark.usefixtures("echo")
def test_flags_come_from_the_dataclass(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["echo", "--data", "a.hdf5", "b.hdf5", "--exit_code", "3"]) == 3
    assert capsys.readouterr().out == "a.hdf5 b.hdf5\n"


@pytest.mark.usefixtures("echo")
def test_expected_error_is_one_message_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["echo", "--data", "a", "--error", "data"]) == 2
    assert capsys.readouterr().err == "gwm: broken.hdf5: demo_3 ends at row 7, expected 80. Collect it again.\n"


@pytest.mark.usefixtures("echo")
def test_missing_extra_names_the_command_that_installs_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["echo", "--data", "a", "--error", "mujoco"]) == 2
    assert 'pip install "gwm-sim[mujoco]"' in capsys.readouterr().err


@pytest.mark.usefixtures("echo")
def test_unexpected_errors_keep_their_traceback() -> None:
    with pytest.raises(ModuleNotFoundError):
        cli.main(["echo", "--data", "a", "--error", "stranger"])


@pytest.mark.usefixtures("echo")
def test_interrupt_is_exit_code_130() -> None:
    assert cli.main(["echo", "--data", "a", "--error", "interrupt"]) == 130


def test_numbers_are_not_written_over_something_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, report = tmp_path / "data.hdf5", tmp_path / "report.json"
    data.write_bytes(b"\x89HDF\r\n\x1a\n")
    report.write_text("[1]", encoding="utf-8")
    assert cli.main(["doctor", "--json", str(data)]) == cli.main(["doctor", "--json", str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert "data.hdf5 exists and is no JSON" in printed.err and "is a folder" in printed.err and not printed.out
    assert data.read_bytes() == b"\x89HDF\r\n\x1a\n"
    cli.main(["doctor", "--json", str(report)])
    assert "torch" in json.loads(report.read_text(encoding="utf-8"))


def test_doctor_writes_its_findings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "reports" / "doctor.json"
    code = cli.main(["doctor", "--json", str(report)])
    findings = json.loads(report.read_text())
    assert {"torch", "mujoco", "cores", "gpu", "rendering", "cameras", "gwm-mini"} <= set(findings)
    missing = [finding for finding in findings.values() if not finding["found"]]
    assert all(finding["remedy"] for finding in missing)
    assert findings["gwm-mini"]["found"] and Path(gwm_sim.__file__).parent == doctor.ROOT
    assert code == int(any(finding["required"] for finding in missing))
    printed = capsys.readouterr().out
    assert all(name in printed for name in findings)
