from __future__ import annotations

from typing import Any

import pytest

from cardamage.config import CfgNode, configurable, get_cfg


class Head:
    @configurable
    def __init__(self, width: int, depth: int = 2, *, name: str = "head") -> None:
        self.values = (width, depth, name)

    @classmethod
    def from_config(cls, cfg: CfgNode, name: str = "from config") -> dict[str, Any]:
        return {"width": cfg.SOLVER.MAX_ITER, "name": name}


class DeepHead(Head):
    @classmethod
    def from_config(cls, cfg: CfgNode, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return {**super().from_config(cfg), "depth": 9, **kwargs}


def test_without_config_nothing_changes() -> None:
    assert Head(1).values == (1, 2, "head")
    assert Head(width=1, depth=3, name="x").values == (1, 3, "x")


def test_with_config() -> None:
    cfg = get_cfg()
    assert Head(cfg).values == (40000, 2, "from config")
    assert Head(cfg=cfg).values == (40000, 2, "from config")


def test_extra_arguments_go_where_they_are_taken() -> None:
    cfg = get_cfg()
    assert Head(cfg, name="given").values == (40000, 2, "given")
    assert Head(cfg, width=5, depth=6).values == (5, 6, "from config")


def test_variadic_from_config_gets_everything() -> None:
    assert DeepHead(get_cfg(), name="n").values == (40000, 9, "n")
    assert DeepHead(3).values == (3, 2, "head")


def test_functions() -> None:
    @configurable(from_config=lambda cfg, extra=0: {"a": cfg.SOLVER.MAX_ITER, "b": extra})
    def function(a: int, b: int = 1, c: int = 2) -> tuple[int, int, int]:
        return a, b, c

    cfg = get_cfg()
    assert function(7) == (7, 1, 2)
    assert function(cfg) == (40000, 0, 2)
    assert function(cfg, extra=4, c=5) == (40000, 4, 5)
    assert function.from_config(cfg) == {"a": 40000, "b": 0}


def test_wrong_use_is_refused() -> None:
    with pytest.raises(TypeError, match="decorates an __init__"):
        configurable(lambda: None)
    with pytest.raises(TypeError, match="must be a function"):
        configurable(from_config=3)  # type: ignore[arg-type]

    class NoConfig:
        @configurable
        def __init__(self) -> None: ...

    with pytest.raises(
        AttributeError, match="^NoConfig uses @configurable, so it needs a classmethod 'from_config'"
    ):
        NoConfig()

    class NotAClassmethod(NoConfig):
        def from_config(self) -> None: ...

    with pytest.raises(TypeError, match="'from_config' of NotAClassmethod must be a classmethod"):
        NotAClassmethod()

    class WrongName(NoConfig):
        @classmethod
        def from_config(cls, config: CfgNode) -> dict[str, Any]:
            return {}

    with pytest.raises(TypeError, match="must take 'cfg' as its first argument"):
        WrongName(get_cfg())


def test_omegaconf_configs_serve_as_well() -> None:
    omegaconf = pytest.importorskip("omegaconf")
    cfg = omegaconf.OmegaConf.create({"WIDTH": 3})

    class Head:
        @configurable
        def __init__(self, width: int, depth: int = 1) -> None:
            self.size = (width, depth)

        @classmethod
        def from_config(cls, cfg: Any) -> dict[str, Any]:
            return {"width": cfg.WIDTH}

    assert Head(cfg).size == (3, 1)
    assert Head(cfg=cfg, depth=5).size == (3, 5)
