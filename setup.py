"""Packaging. Imports nothing but setuptools: installing must not depend on what is installed already."""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "cardamage/__init__.py").read_text(encoding="utf-8"))
assert VERSION is not None


class BuildWithConfigs(build_py):
    """Puts configs/ into the package, where ``cardamage.model_zoo`` finds it without a checkout."""

    def run(self) -> None:
        """Build the package, then copy the files; an editable install reads them where they are."""
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib, "cardamage/model_zoo/configs")
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(HERE / "configs", target)


setup(
    name="cardamage",
    version=VERSION.group(1),
    description="Mask R-CNN for car damage: Labelme in, COCO mAP, pictures and reports out",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["cardamage", "cardamage.*"]),
    package_data={"cardamage": ["py.typed"], "cardamage.model_zoo": ["checkpoints.json"]},
    cmdclass={"build_py": BuildWithConfigs},
    python_requires=">=3.10",
    install_requires=[
        "torch>=2.6",
        "torchvision>=0.21",
        "numpy>=1.26",
        "opencv-python-headless>=4.8",
        "Pillow>=10",
        "pycocotools>=2.0.7",
        "faster-coco-eval>=1.6.5",
        "fvcore>=0.1.5.post20221221",
        "iopath>=0.1.9",
        "yacs>=0.1.8",
        "PyYAML>=6",
        "tqdm>=4.60",
        "tabulate>=0.9",
        "tensorboard>=2.12",
        "matplotlib>=3.7",
    ],
    extras_require={
        "labelme": ["labelme>=5"],
        "test": [
            "pytest>=8",
            "pytest-timeout>=2.3",
            "pytest-xdist>=3.8",
            "hypothesis>=6.100",
            "ruff==0.17.*",
            "mypy==2.4.*",
            "codespell>=2.4",
            "import-linter>=2.5",
            "types-PyYAML",
            "types-tabulate",
            "types-tqdm",
        ],
    },
    classifiers=[
        "License :: OSI Approved :: Apache Software License",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
)
