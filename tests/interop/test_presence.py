"""What --backend detectron2 says where Detectron2 isn't there, or doesn't work."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cardamage.errors import BackendError
from cardamage.interop import require_detectron2

ROOT = Path(__file__).parents[2]
GUIDE = "https://detectron2.readthedocs.io/tutorials/install.html"


def run(*flags: str, path: Path | None = None, hidden: bool = False) -> subprocess.CompletedProcess[str]:
    """Run train_net.py, with a folder in front of the path, or with no Detectron2 to be found."""
    code = "import runpy, sys\n"
    code += "sys.modules['detectron2'] = None\n" if hidden else ""
    code += f"sys.argv = ['train_net.py', *{flags!r}]\n"
    code += f"runpy.run_path({str(ROOT / 'train_net.py')!r}, run_name='__main__')\n"
    folders = [str(path)] if path else []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*folders, str(ROOT)])}
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
        check=False,
    )


def sentence(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1, done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    return lines[0]


def package(folder: Path, content: str) -> Path:
    (folder / "detectron2").mkdir()
    (folder / "detectron2/__init__.py").write_text(content)
    return folder


def test_absence_is_one_sentence_with_the_guide_and_the_way_without_it() -> None:
    said = sentence(run("--backend", "detectron2", "--eval-only", hidden=True))
    assert "isn't installed" in said
    assert GUIDE in said
    assert "leaving --backend out" in said


def test_a_mere_folder_of_that_name_is_no_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "detectron2/docs").mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "detectron2", raising=False)
    with pytest.raises(BackendError, match="isn't installed"):
        require_detectron2()


def test_the_other_backend_never_looks_for_it(tmp_path: Path) -> None:
    package(tmp_path, "raise RuntimeError('imported')")
    said = sentence(run("--backend", "cardamage", "SOLVER.BASE_LR", path=tmp_path))
    assert "KEY VALUE" in said


def test_an_unknown_backend_is_refused() -> None:
    done = run("--backend", "mmdet")
    assert done.returncode == 2
    assert "detectron2" in done.stderr


@pytest.mark.parametrize(
    ("raised", "cause"),
    [
        ("ModuleNotFoundError(\"No module named 'pkg_resources'\", name='pkg_resources')", "setuptools<80"),
        ("ModuleNotFoundError(\"No module named 'omegaconf'\", name='omegaconf')", "omegaconf"),
        ("ImportError('/x/detectron2/_C.so: undefined symbol: _ZN2at')", "build it again"),
        ("AttributeError('module PIL.Image has no attribute LINEAR')", "has no attribute LINEAR"),
    ],
)
def test_a_broken_installation_is_one_sentence_with_the_cause(
    tmp_path: Path, raised: str, cause: str
) -> None:
    said = sentence(run("--backend", "detectron2", path=package(tmp_path, f"raise {raised}")))
    assert "can't be imported" in said
    assert cause in said
    assert GUIDE in said
    assert "leaving --backend out" in said
