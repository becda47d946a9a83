"""What tests of several rooms use: fresh loggers, the tools, and a web server that fails as networks do."""

from __future__ import annotations

import email.utils
import importlib.util
import logging
import os
import runpy
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

if TYPE_CHECKING:
    from tests.support.trained_model import TrainedModel

Answer = Callable[[BaseHTTPRequestHandler, int], None]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


class Loopback:
    """Serves :attr:`files` by path, with ranges and ETags, unless :attr:`answer` takes a request over.

    Attributes:
        files: bytes by path.
        etag: whether and what to send as ETag.
        ranges: whether requests for a part get a part.
        cut_after: bytes after which a connection is cut, for as many requests as :attr:`cuts`.
        cuts: how many connections are still to be cut.
        requests: path and Range header of each request.
        answer: called with the handler and the request's number, where set.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.etag: str | None = '"v1"'
        self.ranges = True
        self.cut_after, self.cuts = 0, 0
        self.requests: list[tuple[str, str | None]] = []
        self.headers: list[dict[str, str]] = []
        self.answer: Answer | None = None
        loopback = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                loopback.requests.append((self.path, self.headers["Range"]))
                loopback.headers.append(dict(self.headers))
                if loopback.answer is not None:
                    loopback.answer(self, len(loopback.requests))
                else:
                    loopback.serve(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def serve(self, request: BaseHTTPRequestHandler) -> None:
        """Answer as a proper server does, but for the cut."""
        body = self.files.get(request.path)
        if body is None:
            request.send_error(404)
            return
        begin, asked = 0, request.headers["Range"]
        if self.ranges and asked and request.headers["If-Range"] in (None, self.etag):
            begin = int(asked.removeprefix("bytes=").partition("-")[0])
            if begin >= len(body):
                request.send_error(416)
                return
        request.send_response(206 if begin else 200)
        if begin:
            request.send_header("Content-Range", f"bytes {begin}-{len(body) - 1}/{len(body)}")
        if self.etag:
            request.send_header("ETag", self.etag)
        request.send_header("Date", email.utils.formatdate())
        request.send_header("Content-Length", str(len(body) - begin))
        request.end_headers()
        part = body[begin:]
        if self.cuts:
            self.cuts -= 1
            part = part[: self.cut_after]
        request.wfile.write(part)

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


class Waits(TorchDispatchMode):
    """Notes every operation after which a host would have to wait for its GPU.

    Attributes:
        found: the operations' names.
    """

    READING = ("_local_scalar_dense", "nonzero", "masked_select", "_unique", "unique_", "bincount", "equal")

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name.removeprefix("aten::")
        if name.startswith(self.READING) or self._selects(name, args) or self._copies(name, args, kwargs):
            self.found.append(name)
        return func(*args, **kwargs)

    @staticmethod
    def _selects(name: str, args: Any) -> bool:
        """Indexing with a mask counts it, but for writing one value."""
        if name not in ("index", "index_put", "index_put_", "_index_put_impl_"):
            return False
        masks = [x for x in args[1] if x is not None and x.dtype in (torch.bool, torch.uint8)]
        return bool(masks) and (name == "index" or args[2].numel() != 1)

    @staticmethod
    def _copies(name: str, args: Any, kwargs: Any) -> bool:
        """Copies to the host wait, and those from it unless they are told not to."""
        if name == "_to_copy":
            source, target = args[0].device, torch.device(kwargs.get("device") or args[0].device)
            blocking = not kwargs.get("non_blocking", False)
        elif name == "copy_":
            source, target = args[1].device, args[0].device
            blocking = not (args[2] if len(args) > 2 else kwargs.get("non_blocking", False))
        else:
            return False
        return source.type != target.type and (blocking or target.type == "cpu")


@pytest.fixture(scope="session")
def load_tool() -> Callable[[str], ModuleType]:
    """Return a function from the name of a script of ``tools/`` to it as a module."""

    def load(name: str) -> ModuleType:
        path = Path(__file__).parents[1] / "tools" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(f"{name}_tool", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def run_script(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs a script and its arguments as a command does, but in this process."""

    def run(*command: object) -> subprocess.CompletedProcess[str]:
        words = [str(word) for word in command]
        monkeypatch.setattr(sys, "argv", words)
        capsys.readouterr()
        code: object = 0
        try:
            runpy.run_path(words[0], run_name="__main__")
        except SystemExit as end:
            code = end.code
        assert isinstance(code, int)
        return subprocess.CompletedProcess(words, code, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> TrainedModel:
    """The config and weights of a tiny Mask R-CNN that was never trained."""
    # Imported late: most tests need no model.
    from tests.support.trained_model import write_trained_model

    return write_trained_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def waits() -> Waits:
    """A mode that notes what a GPU's host would wait for inside a ``with`` block."""
    return Waits()


@pytest.fixture(scope="session")
def served() -> Iterator[Callable[[], Loopback]]:
    """A function that starts a server; it runs until the tests are over."""
    started: list[Loopback] = []

    def start() -> Loopback:
        started.append(Loopback())
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture
def loopback(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    """A server, with downloads that lose no time between attempts."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr("cardamage.utils.download.DELAYS", (0.0, 0.0, 0.0))
    server = Loopback()
    yield server
    server.close()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for downloaded files."""
    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def fresh_seed(record_property: Callable[[str, object], None]) -> int:
    """Another number in every run, told where the test fails; ``CARDAMAGE_TEST_SEED`` repeats one."""
    seed = int(os.environ.get("CARDAMAGE_TEST_SEED") or secrets.randbelow(2**31))
    record_property("seed", seed)
    print(f"CARDAMAGE_TEST_SEED={seed}")
    return seed


@pytest.fixture(autouse=True)
def _fresh_loggers() -> Iterator[None]:
    """Undo what a run's setup does to loggers that outlive a test.

    Where a logger has stopped to propagate, pytest puts its own handlers on it besides the root's: a later
    test that lets it propagate again would see every line twice.
    """
    yield
    for name in ("cardamage", "detectron2", "fvcore"):
        logger = logging.getLogger(name)
        for handler in logger.handlers:
            if isinstance(handler, logging.FileHandler):
                handler.close()
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.NOTSET)
