#!/usr/bin/env python
"""Train or evaluate Mask R-CNN: Detectron2's flags, then config keys and values."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any

from cardamage.engine import default_argument_parser
from cardamage.utils.cli import run


def setup(args: argparse.Namespace) -> Any:
    """Return the config of the flags, with the run's folder and logs prepared."""
    from cardamage.config import get_cfg, make_exact
    from cardamage.engine import default_setup

    cfg = get_cfg()
    if args.config_file:
        cfg.merge_from_file(args.config_file)
    if args.exact:
        make_exact(cfg)
    cfg.merge_from_list(args.opts)
    cfg.freeze()
    default_setup(cfg, args)
    return cfg


def make_trainer_class() -> Any:
    """Return the trainer, with its datasets' evaluation; importing its parts takes seconds."""
    from cardamage.config import CfgNode
    from cardamage.engine import DefaultTrainer, HookBase, hooks
    from cardamage.engine.testing import evaluate_with_tta
    from cardamage.evaluation import DatasetEvaluator, evaluator_of

    class Trainer(DefaultTrainer):
        @classmethod
        def build_evaluator(
            cls, cfg: CfgNode, dataset_name: str, folder: str = "inference"
        ) -> DatasetEvaluator:
            return evaluator_of(dataset_name, os.path.join(cfg.OUTPUT_DIR, folder))

        @classmethod
        def test_with_TTA(cls, cfg: CfgNode, model: Any) -> dict[str, Any]:  # noqa: N802 (Detectron2's name)
            names = cfg.DATASETS.TEST
            evaluators = [cls.build_evaluator(cfg, name, "inference_TTA") for name in names]
            return evaluate_with_tta(cls, cfg, model, evaluators)

        def build_hooks(self) -> list[HookBase | None]:
            result = super().build_hooks()
            if self.cfg.TEST.AUG.ENABLED and self.cfg.DATASETS.TEST:
                # Behind the plain evaluation and before the writers.
                place = next(i for i, hook in enumerate(result) if isinstance(hook, hooks.EvalHook))
                result.insert(place + 1, hooks.EvalHook(0, self._evaluate_with_tta))
            return result

        def _evaluate_with_tta(self) -> dict[str, Any]:
            with self.averaged_weights():
                results = self.test_with_TTA(self.cfg, self.model)
            self._last_eval_results = {**self._last_eval_results, **results}
            return results

    return Trainer


def evaluate(trainer: Any, cfg: Any, resume: bool) -> dict[str, Any]:
    """Evaluate ``MODEL.WEIGHTS``, or with ``resume`` the last checkpoint of the output folder."""
    from cardamage.checkpoint import DetectionCheckpointer
    from cardamage.engine.evaluating import prepare_evaluation
    from cardamage.evaluation import verify_results
    from cardamage.utils import comm

    weights, classes = prepare_evaluation(cfg, resume)
    model = trainer.build_model(cfg)
    checkpointer = DetectionCheckpointer(model, save_dir=cfg.OUTPUT_DIR, thing_classes=classes)
    checkpointer.load(weights, strict=True)
    results: dict[str, Any] = trainer.test(cfg, model)
    if cfg.TEST.AUG.ENABLED:
        results.update(trainer.test_with_TTA(cfg, model))
    if comm.is_main_process():
        verify_results(cfg, results)
    return results


def main(args: argparse.Namespace) -> None:
    """Train, or evaluate with ``--eval-only``, in one process of the job."""
    cfg = setup(args)
    trainer_class = make_trainer_class()
    if args.eval_only:
        evaluate(trainer_class, cfg, args.resume)
        return
    trainer = trainer_class(cfg)
    trainer.resume_or_load(resume=args.resume)
    trainer.train()


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = default_argument_parser()
    parser.add_argument(
        "--backend",
        choices=("cardamage", "detectron2"),
        default="cardamage",
        help="the engine that runs it; detectron2 must be installed (default: %(default)s)",
    )
    parser.add_argument(
        "--exact",
        action="store_true",
        help="compute as Detectron2 does, operation by operation in float32, with every faster way off",
    )
    return parser.parse_args(argv)


def invoke_main() -> None:
    """Start the processes that the flags ask for."""
    args = parse_args()
    if args.backend == "detectron2":
        from cardamage.interop import launch_detectron2

        launch_detectron2(args)
        return
    from cardamage.engine import launch

    launch(main, args.num_gpus, args.num_machines, args.machine_rank, args.dist_url, (args,))


if __name__ == "__main__":
    run(invoke_main)
