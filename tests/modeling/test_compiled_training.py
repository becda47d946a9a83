"""Compiled training: plain numbers, one compilation for all sizes, and a model that stays itself."""

from __future__ import annotations

import copy
import logging
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

from cardamage.layers import ShapeSpec
from cardamage.modeling import build_model
from cardamage.modeling.backbone import Backbone
from cardamage.modeling.batch import force_fixed_shapes
from cardamage.modeling.meta_arch.preprocessing import ImageModel
from cardamage.modeling.regions import compile_model
from cardamage.utils.compiling import Compiler, compiling, region
from cardamage.utils.events import EventStorage

pytest.importorskip("torch._dynamo")

Make = Callable[..., Any]
Results = tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]


@pytest.fixture(autouse=True)
def _forget_compilations(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[None]:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


class _Counter:
    """A compiler that counts what it is given, and runs it as it is."""

    def __init__(self) -> None:
        self.graphs = 0

    def __call__(self, graph: torch.fx.GraphModule, inputs: Any) -> Callable[..., Any]:
        self.graphs += 1
        return graph.forward


def _step(model: nn.Module, batch: list[Any]) -> Results:
    torch.manual_seed(1)
    model.zero_grad()
    with force_fixed_shapes(True), EventStorage(0):
        losses = model(batch)
        sum(losses.values()).backward()  # type: ignore[union-attr]
    return losses, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def _assert_equal(found: Results, expected: Results) -> None:
    assert set(found[1]) == set(expected[1])
    for name, loss in expected[0].items():
        torch.testing.assert_close(found[0][name], loss, rtol=1e-4, atol=1e-6)
    for name, gradient in expected[1].items():
        scale = gradient.abs().max().item()
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-3, atol=1e-4 * scale + 1e-9)


# Each level and norm is one more thing to compile.
_TWO_LEVELS = {
    "MODEL.RESNETS.NORM": "GN",
    "MODEL.RESNETS.OUT_FEATURES": ["res4", "res5"],
    "MODEL.FPN.IN_FEATURES": ["res4", "res5"],
    "MODEL.RPN.IN_FEATURES": ["p4", "p5"],
    "MODEL.ROI_HEADS.IN_FEATURES": ["p4", "p5"],
    "MODEL.ANCHOR_GENERATOR.SIZES": [[16], [64]],
}


def test_all_sizes_share_one_compilation_and_the_numbers_of_plain_torch(tiny_cfg: Make, sample: Make) -> None:
    torch.manual_seed(0)
    model = build_model(tiny_cfg(**_TWO_LEVELS))
    batches = [
        [sample(0, 3), sample(1, 2, (64, 100))],
        [sample(2, 0, (128, 128)), sample(3, 1, (100, 128))],
        [sample(4, 9, (160, 96)), sample(5, 6, (90, 60))],
    ]
    expected = [_step(model, batch) for batch in batches]
    names = list(model.state_dict())
    counter = _Counter()
    assert compile_model(model, backend=counter)
    _assert_equal(_step(model, batches[0]), expected[0])
    compiled = counter.graphs
    assert compiled >= 10
    for batch, result in zip(batches[1:], expected[1:], strict=True):
        _assert_equal(_step(model, batch), result)
    assert counter.graphs == compiled
    assert list(model.state_dict()) == names
    assert not torch._dynamo.utils.counters["graph_break"]
    model.eval()
    with torch.no_grad():
        model(batches[0])
    assert counter.graphs == compiled


class _Pyramid(Backbone):
    """A backbone of a user's own, quick to compile."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"p1": _scaled(self.conv(x))}

    def output_shape(self) -> dict[str, ShapeSpec]:
        return {"p1": ShapeSpec(channels=4, stride=2)}


@region
def _scaled(x: torch.Tensor) -> torch.Tensor:
    return (x * 2).relu()


class _Model(ImageModel):
    def __init__(self) -> None:
        super().__init__(_Pyramid(), [1.0, 2.0, 3.0], [2.0, 2.0, 2.0])

    def forward(self, images: list[torch.Tensor]) -> torch.Tensor:
        return (
            self.backbone(self.preprocess_image([{"image": x} for x in images]).tensor)["p1"].square().mean()
        )


def _pictures() -> list[torch.Tensor]:
    return [torch.randint(0, 256, (3, h, w), dtype=torch.uint8) for h, w in ((20, 30), (33, 24))]


def test_inductor_gives_the_numbers_of_plain_torch() -> None:
    from torch._inductor import config

    # Trying the processor's instructions takes longer than all else, with a cache that is new.
    with config.patch({"cpp.vec_isa_ok": False}):
        torch.manual_seed(0)
        model, pictures = _Model(), _pictures()
        model(pictures).backward()
        expected = {name: p.grad.clone() for name, p in model.named_parameters()}
        model.zero_grad()
        assert compile_model(model)
        loss = model(pictures)
        loss.backward()
        assert model.train_compiler is not None
        if model.train_compiler.broken:
            pytest.skip("there is no C++ compiler")
        for name, p in model.named_parameters():
            torch.testing.assert_close(p.grad, expected[name], rtol=1e-4, atol=1e-4)


def test_ddp_trains_a_compiled_model(tmp_path: Any) -> None:
    torch.manual_seed(0)
    model, pictures, counter = _Model(), _pictures(), _Counter()
    model(pictures).backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    compile_model(model, backend=counter)
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(model)
        wrapped(pictures).backward()
    finally:
        torch.distributed.destroy_process_group()
    assert counter.graphs > 0
    for name, p in model.named_parameters():
        torch.testing.assert_close(p.grad, expected[name])


def test_copies_and_pickles_are_plain(tiny_cfg: Make, sample: Make) -> None:
    model = build_model(tiny_cfg())
    counter = _Counter()
    compile_model(model, backend=counter)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert other.train_compiler is None
        assert list(other.state_dict()) == list(model.state_dict())
        _step(other, [sample(0, 2)])
    assert counter.graphs == 0


def test_what_can_not_be_compiled_runs_in_plain_torch(caplog: pytest.LogCaptureFixture) -> None:
    def broken(graph: Any, inputs: Any) -> Any:
        raise OSError("there is no compiler")

    torch.manual_seed(0)
    model, pictures = _Model(), _pictures()
    expected = model(pictures)
    compile_model(model, backend=broken)
    with caplog.at_level(logging.INFO, "cardamage"):
        assert torch.equal(model(pictures), expected)
        assert torch.equal(model(pictures), expected)
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "there is no compiler" in warnings[0].message
    assert model.train_compiler is not None
    assert model.train_compiler.broken


def test_a_backward_pass_that_can_not_be_compiled_is_left_plain(caplog: pytest.LogCaptureFixture) -> None:
    from torch._dynamo.backends.common import aot_autograd
    from torch._functorch import config

    if not hasattr(config, "force_non_lazy_backward_lowering"):
        pytest.skip("this torch compiles backward passes later")

    def forward(graph: torch.fx.GraphModule, inputs: Any) -> Callable[..., Any]:
        return graph.forward

    def backward(graph: torch.fx.GraphModule, inputs: Any) -> Callable[..., Any]:
        raise RuntimeError("no compiler for this")

    compiler = Compiler(aot_autograd(fw_compiler=forward, bw_compiler=backward))
    weight = torch.rand(3, 4, requires_grad=True)

    with compiling(compiler), caplog.at_level(logging.WARNING):
        region(torch.sin)(weight).sum().backward()

    assert compiler.broken
    assert caplog.text.count("can't be compiled here") == 1
    torch.testing.assert_close(weight.grad, weight.detach().cos())


def test_inference_is_compiled_where_asked_for() -> None:
    model, pictures, counter = _Model(), _pictures(), _Counter()
    compile_model(model, training=False, inference=True, backend=counter)
    model(pictures)
    assert counter.graphs == 0
    model.eval()
    model(pictures)
    assert counter.graphs > 0
    compile_model(model, training=False)
    assert model.train_compiler is model.test_compiler is None


def test_models_of_other_packages_stay_as_they_are(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "cardamage"):
        assert not compile_model(nn.Linear(2, 2))
    assert "no effect on Linear" in caplog.text


def test_regions_are_plain_functions_outside_of_a_block() -> None:
    counter = _Counter()
    compiler = Compiler(counter)
    x = torch.randn(3)
    _scaled(x)
    with compiling(None):
        _scaled(x)
    assert counter.graphs == 0
    with compiling(compiler):
        assert torch.equal(_scaled(x), (x * 2).relu())
        with compiling(None):
            _scaled(x)
    assert counter.graphs == 1
