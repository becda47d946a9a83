"""Commands end with a code and at most one sentence."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cardamage.errors import ConfigKeyError
from cardamage.utils import cli


@pytest.mark.parametrize(("result", "code"), [(None, 0), (3, 3), ("text", 0), (True, 0)])
def test_results_become_exit_codes(result: object, code: int) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.run(lambda: result)
    assert stop.value.code == code


def test_expected_errors_are_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise ConfigKeyError("There is no key 'BASE_LR'.")

    with pytest.raises(SystemExit) as stop:
        cli.run(main)
    assert stop.value.code == 1
    assert capsys.readouterr().err == "error: There is no key 'BASE_LR'.\n"


def test_defects_keep_their_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        cli.run(lambda: 1 // 0)


def test_interruption(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as stop:
        cli.run(main)
    assert stop.value.code == 130
    assert "interrupted" in capsys.readouterr().err


def test_a_reader_that_left_is_no_error() -> None:
    code = "from cardamage.utils import cli\ncli.run(lambda: print('x' * 1000000))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(10)
    process.stdout.close()
    errors = process.stderr.read()
    assert process.wait() == 0
    assert errors == b""


def test_importing_the_helper_loads_nothing_heavy() -> None:
    code = "import sys, cardamage.utils.cli; print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"
