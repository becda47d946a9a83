"""The dataset doctor: finds what is wrong with a dataset, says where, and repairs what is safe.

A kind of finding is a function in a file of ``checks/``; adding one is adding a file. The files are read here
by readers that go on where those of :mod:`..formats` refuse.
"""

from .model import Hit, Part, Picture, Shape, Subject
from .reading import read_sources
from .registry import Check, Finding, all_checks, find_all

__all__ = [
    "Check",
    "Finding",
    "Hit",
    "Part",
    "Picture",
    "Shape",
    "Subject",
    "all_checks",
    "find_all",
    "read_sources",
]
