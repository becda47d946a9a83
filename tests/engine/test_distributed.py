"""Two gloo ranks: gradients, losses, errors and random numbers."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from cardamage.engine import launch
from cardamage.engine.launching import explain_lost_rank
from cardamage.errors import LaunchError

ROOT = Path(__file__).parents[2]

TOGETHER = """
    import os, sys
    import torch
    from torch import nn
    from cardamage.checkpoint import DetectionCheckpointer
    from cardamage.engine import SimpleTrainer, create_ddp_model, launch
    from cardamage.errors import CheckpointError
    from cardamage.utils import comm
    from cardamage.utils.cli import run

    class Loader:
        def __init__(self, poison=None):
            self.poison = poison

        def __iter__(self):
            generator = torch.Generator().manual_seed(10 + comm.get_rank())
            for number in range(100):
                bad = float("nan") if (comm.get_rank(), number) == self.poison else 1.0
                name = f"r{comm.get_rank()}_{number}.jpg"
                yield [{"x": torch.rand(4, generator=generator) * bad, "file_name": name}]

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 2)
        def forward(self, batch):
            return {"loss": self.fc(batch[0]["x"]).square().sum()}

    def gradients():
        torch.manual_seed(0)
        own = Model()
        data = next(iter(Loader()))
        own(data)["loss"].backward()
        torch.manual_seed(100 + comm.get_rank())  # DDP must make the ranks' weights equal by itself
        model = Model()
        if comm.is_main_process():
            model.load_state_dict(own.state_dict())
        wrapped = create_ddp_model(model, broadcast_buffers=False)
        trainer = SimpleTrainer(wrapped, Loader(), torch.optim.SGD(wrapped.parameters(), lr=0.0))
        trainer.train(0, 1)
        losses = trainer.storage.history("total_loss").latest()
        torch.save(
            {"own": own.fc.weight.grad, "ddp": model.fc.weight.grad, "loss": losses,
             "own_loss": own(data)["loss"].item(), "weight": model.fc.weight.detach()},
            f"{sys.argv[1]}/{comm.get_rank()}.pth",
        )

    def download():
        model = nn.Linear(3, 2)
        checkpointer = DetectionCheckpointer(model)
        checkpointer.load(os.environ["SERVER"] + "/w.pth")
        print(f"loaded {model.weight.sum().item()}")
        try:
            checkpointer.load(os.environ["SERVER"] + "/none.pth")
        except CheckpointError as error:
            print(error)

    def main():
        gradients()
        download()
        model = create_ddp_model(Model())
        SimpleTrainer(model, Loader((1, 2)), torch.optim.SGD(model.parameters(), lr=0.01)).train(0, 10)

    run(lambda: launch(main, 2))
"""


def environment(**more: str) -> dict[str, str]:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path, **more}


@dataclass
class Ranks:
    """What two ranks did, one thing after the other.

    Attributes:
        done: their processes' output.
        folder: where they wrote.
        requests: the paths they asked the server for.
        downloads: the files that came of it.
    """

    done: subprocess.CompletedProcess[str]
    folder: Path
    requests: list[str]
    downloads: list[str]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory, served: Callable[[], Any]) -> Ranks:
    """Run the script in two processes; its end is a loss that is not finite."""
    folder, server, content = tmp_path_factory.mktemp("ranks"), served(), io.BytesIO()
    torch.save({"weight": torch.ones(2, 3), "bias": torch.ones(2)}, content)
    server.files["/w.pth"] = content.getvalue()
    file, cache = folder / "script.py", folder / "cache"
    file.write_text(textwrap.dedent(TOGETHER))
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", str(file), str(folder)]
    env = environment(SERVER=server.url, FVCORE_CACHE=str(cache), no_proxy="*")
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=env, check=False)
    paths = [path for path, _ in server.requests]
    return Ranks(done, folder, paths, [path.name for path in cache.glob("*.pth")])


def test_gradients_are_the_mean_of_each_ranks_own(ranks: Ranks) -> None:
    first, second = (torch.load(ranks.folder / f"{rank}.pth", weights_only=True) for rank in (0, 1))
    mean = (first["own"] + second["own"]) / 2
    assert not torch.allclose(first["own"], second["own"])
    for rank in (first, second):
        torch.testing.assert_close(rank["ddp"], mean, rtol=0, atol=1e-6)
        assert rank["loss"] == pytest.approx((first["own_loss"] + second["own_loss"]) / 2, abs=1e-6)
    assert torch.equal(first["weight"], second["weight"])


def test_one_rank_downloads_for_all(ranks: Ranks) -> None:
    said = ranks.done.stdout
    assert said.count("loaded 6.0") == 2
    assert said.count("(the server answers 404 Not Found): check the address") == 2
    assert ranks.requests == ["/w.pth", "/none.pth"]
    assert ranks.downloads == ["w.pth"]


def test_nan_on_one_rank_stops_both_and_names_its_images(ranks: Ranks) -> None:
    assert ranks.done.returncode != 0
    lines = [line for line in ranks.done.stderr.splitlines() if line.startswith("error: ")]
    assert lines
    for line in lines:
        assert line == (
            "error: The loss is not finite at iteration 2 (loss nan), on the images r1_2.jpg: look at their "
            "annotations, lower SOLVER.BASE_LR, or set SOLVER.CLIP_GRADIENTS.ENABLED True."
        )


def test_one_process_runs_the_function_itself() -> None:
    assert launch(lambda value: value + 1, 1, args=(2,)) == 3
    assert launch(lambda: "cpu", 0) == "cpu"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_gpus_that_are_not_there() -> None:
    with pytest.raises(LaunchError, match="--num-gpus 3 was asked for, but no GPU was found"):
        launch(print, 3)


def test_other_errors_pass_unchanged() -> None:
    with pytest.raises(RuntimeError, match="shape"), explain_lost_rank():
        raise RuntimeError("wrong shape")


SPAWNED = """
    import os, signal, sys, time
    from cardamage.engine import DEFAULT_TIMEOUT, launching
    from cardamage.errors import TrainingError
    from cardamage.utils import comm
    from cardamage.utils.cli import run

    def main(how):
        comm.synchronize()
        if comm.get_rank() == 1:
            if how == "raise":
                raise TrainingError("the disk is gone.")
            if how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
        if how == "term":
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
            os.write(1, b"ready\\n")
            time.sleep(60)
        comm.synchronize()

    def start():
        where = (2, 2, 0, f"tcp://127.0.0.1:{launching._free_port()}")
        launching._spawn(2, (main, *where, (sys.argv[1],), DEFAULT_TIMEOUT))

    if __name__ == "__main__":
        run(start)
"""


def spawned(folder: Path, how: str) -> subprocess.Popen[str]:
    file = folder / "spawned.py"
    file.write_text(textwrap.dedent(SPAWNED))
    command = [sys.executable, str(file), how]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    )


@pytest.mark.parametrize(
    ("how", "sentences"),
    [
        ("nothing", ()),
        ("raise", ("error: Rank 1 stopped: the disk is gone.",)),
        # Either the death itself or the survivor's lost connection is noticed first.
        (
            "kill",
            ("error: Rank 1 was killed by SIGKILL, so the job was ended", "lost another rank of the job"),
        ),
    ],
)
def test_processes_started_here_end_with_a_sentence(
    tmp_path: Path, how: str, sentences: tuple[str, ...]
) -> None:
    process = spawned(tmp_path, how)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == (1 if sentences else 0), errors
    lines = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert len(lines) == (1 if sentences else 0), errors
    assert not sentences or any(sentence in lines[0] for sentence in sentences)


def test_sigterm_reaches_the_processes_started_here(tmp_path: Path) -> None:
    process = spawned(tmp_path, "term")
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == ["ready\n"] * 2
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 143
