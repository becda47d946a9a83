"""How a command ends: quietly, or with one sentence."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from cardamage.errors import CardamageError

INTERRUPTED = 130


def run(main: Callable[[], Any]) -> None:
    """Run a command's main function and exit.

    A :class:`~cardamage.errors.CardamageError` is printed to stderr as ``error: <sentence>`` without a
    traceback and the exit code is 1; any other exception is a defect and keeps its traceback. Ctrl-C
    exits with 130. A reader that went away (``| head``) is no error.

    Args:
        main: the command; an int it returns is the exit code, anything else counts as 0.
    """
    try:
        result = main()
        sys.stdout.flush()
    except CardamageError as error:
        _say(f"error: {error}")
        sys.exit(1)
    except KeyboardInterrupt:
        _say("error: interrupted.")
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # Python would flush stdout once more at exit and complain about the closed pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    code = result if isinstance(result, int) and not isinstance(result, bool) else 0
    sys.exit(code)


def _say(line: str) -> None:
    # In one piece: print() may write the end of the line apart, and the ranks of a job share their stderr.
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
