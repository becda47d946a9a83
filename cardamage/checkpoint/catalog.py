"""Weights that Detectron2 knows by name: ``catalog://ImageNetPretrained/MSRA/R-50`` and the like.

All are Caffe2's, with its names and its padding of strided layers; batch norms are folded into affine layers.
Detectron2's model zoo has replaced most of them (``detectron2://``).
"""

from __future__ import annotations

from pathlib import Path

from cardamage.errors import CheckpointError
from cardamage.utils.file_io import Downloads, PathManager, fetch
from cardamage.utils.suggest import did_you_mean

__all__ = ["ModelCatalog"]

_HOST = "https://dl.fbaipublicfiles.com/detectron"
_IMAGENET = "ImageNetPretrained/"
_COCO = "Caffe2Detectron/COCO/"
_TRAINED_ON = "coco_2014_train%3Acoco_2014_valminusminival"

_TRUNKS = {
    "MSRA/R-50": "MSRA/R-50.pkl",
    "MSRA/R-101": "MSRA/R-101.pkl",
    "FAIR/R-50-GN": "47261647/R-50-GN.pkl",
    "FAIR/R-101-GN": "47592356/R-101-GN.pkl",
    "FAIR/X-101-32x8d": "20171220/X-101-32x8d.pkl",
    "FAIR/X-101-64x4d": "FBResNeXt/X-101-64x4d.pkl",
    "FAIR/X-152-32x8d-IN5k": "25093814/X-152-32x8d-IN5k.pkl",
}
# By number and name: when the training was started, and a mark of it.
_RUNS = {
    "35857197/e2e_faster_rcnn_R-50-C4_1x": "01_33_49.iAX0mXvW",
    "35857345/e2e_faster_rcnn_R-50-FPN_1x": "01_36_30.cUF7QR7I",
    "35857890/e2e_faster_rcnn_R-101-FPN_1x": "01_38_50.sNxI7sX7",
    "36761737/e2e_faster_rcnn_X-101-32x8d-FPN_1x": "06_31_39.5MIHi1fZ",
    "35858791/e2e_mask_rcnn_R-50-C4_1x": "01_45_57.ZgkA7hPB",
    "35858933/e2e_mask_rcnn_R-50-FPN_1x": "01_48_14.DzEQe4wC",
    "35861795/e2e_mask_rcnn_R-101-FPN_1x": "02_31_37.KqyEK4tT",
    "36761843/e2e_mask_rcnn_X-101-32x8d-FPN_1x": "06_35_59.RZotkLKI",
    "35998355/rpn_R-50-C4_1x": "08_00_43.njH5oD9L",
    "35998814/rpn_R-50-FPN_1x": "08_06_03.Axg0r179",
}
# Those that lie elsewhere.
_OTHER_RUNS = {
    "36225147/fast_R-50-FPN_1x": "36225147/12_2017_baselines/fast_rcnn_R-50-FPN_1x.yaml.08_39_09.L3obSdQ2",
    "48616381/e2e_mask_rcnn_R-50-FPN_2x_gn": (
        "GN/48616381/04_2018_gn_baselines/e2e_mask_rcnn_R-50-FPN_2x_gn_0416.13_23_38.bTlTI97Q"
    ),
}


class ModelCatalog:
    """The addresses of weights by name."""

    @staticmethod
    def get(name: str) -> str:
        """Return an address.

        Args:
            name: ``ImageNetPretrained/...`` or ``Caffe2Detectron/COCO/...``.

        Raises:
            CheckpointError: if there is no such name.
        """
        known = [*(_IMAGENET + trunk for trunk in _TRUNKS), *(_COCO + run for run in (*_RUNS, *_OTHER_RUNS))]
        if name not in known:
            instead = did_you_mean(name, known) or f": the names begin with {_IMAGENET} or {_COCO}."
            raise CheckpointError(f"There are no weights 'catalog://{name}'{instead}")
        if name.startswith(_IMAGENET):
            return f"{_HOST}/ImageNetPretrained/{_TRUNKS[name.removeprefix(_IMAGENET)]}"
        run = name.removeprefix(_COCO)
        number, _, kind = run.partition("/")
        folder = _OTHER_RUNS.get(run) or f"{number}/12_2017_baselines/{kind}.yaml.{_RUNS[run]}"
        model = "rpn" if run == "35998355/rpn_R-50-C4_1x" else "generalized_rcnn"
        return f"{_HOST}/{folder}/output/train/{_TRAINED_ON}/{model}/model_final.pkl"


class _CatalogHandler(Downloads):
    """``catalog://``: the weights of :class:`ModelCatalog`."""

    def _get_supported_prefixes(self) -> list[str]:
        return ["catalog://"]

    def _local(self, path: str, force: bool, cache_dir: str | None) -> Path:
        url = ModelCatalog.get(path.partition("://")[2])
        return fetch(url, name=path, force=force, cache_dir=cache_dir)


PathManager.register_handler(_CatalogHandler())
