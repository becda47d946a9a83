"""Anchors as a config has them."""

from __future__ import annotations

import numpy as np
import pytest

from cardamage.anchors import AnchorForm, AnchorLists
from cardamage.anchors.form import rounded


@pytest.mark.parametrize(
    ("form", "lists"),
    [
        (AnchorForm(3, 1, 2), AnchorLists(((8.0,), (16.0,), (32.0,)), ((0.5, 2.0),))),
        (AnchorForm(2, 2, 1, own_ratios=True), AnchorLists(((8.0, 9.0), (16.0, 20.0)), ((0.5,), (3.0,)))),
        (AnchorForm(3, 2, 2, own_sizes=False), AnchorLists(((8.0, 64.0),), ((0.5, 2.0),))),
        (AnchorForm(1, 2, 3), AnchorLists(((32.0, 64.0),), ((0.5, 1.0, 2.0),))),
    ],
)
def test_there_and_back(form: AnchorForm, lists: AnchorLists) -> None:
    vector = form.pack(lists)
    assert vector is not None
    found = form.unpack(vector)
    for one, other in ((found.sizes, lists.sizes), (found.ratios, lists.ratios)):
        np.testing.assert_allclose(one, other)
    sizes, ratios = found.for_maps(form.maps)
    assert len(sizes) == len(ratios) == form.maps


def test_other_forms_are_told() -> None:
    lists = AnchorLists(((8.0,), (16.0,)), ((0.5, 2.0), (0.4, 2.0)))
    assert AnchorForm(2, 1, 3).pack(lists) is None
    assert AnchorForm(2, 1, 2).pack(lists) is None
    assert AnchorForm(2, 1, 2, own_ratios=True).pack(lists) is not None
    assert AnchorForm(2, 1, 2, own_sizes=False, own_ratios=True).pack(lists) is None
    one_for_all = AnchorLists(((8.0, 16.0),), ((1.0,),))
    assert AnchorForm(2, 2, 1).pack(one_for_all) is not None


def test_free_shapes_are_brought_into_the_form() -> None:
    # Two maps, one size, two ratios: areas 100 and 400, ratios 1/4 and 4, then 1/9 and 9.
    shapes = np.array([[20.0, 5], [5, 20], [60, 20 / 3], [20 / 3, 60]])
    shared = AnchorForm(2, 1, 2)
    found = shared.unpack(shared.from_shapes(shapes))
    np.testing.assert_allclose(found.sizes, [[10], [20]])
    np.testing.assert_allclose(found.ratios, [[1 / 6, 6]])
    own = AnchorForm(2, 1, 2, own_ratios=True)
    np.testing.assert_allclose(own.unpack(own.from_shapes(shapes)).ratios, [[1 / 4, 4], [1 / 9, 9]])
    all_shared = AnchorForm(3, 2, 2, own_sizes=False)
    np.testing.assert_allclose(all_shared.unpack(all_shared.from_shapes(shapes)).sizes, [[10, 20]])


def test_coarser_maps_have_larger_sizes() -> None:
    form = AnchorForm(2, 1, 1)
    assert form.ordered(np.log([8.0, 16, 1]))
    assert not form.ordered(np.log([16.0, 8, 1]))


def test_rounded_as_a_person_writes() -> None:
    lists = rounded(AnchorLists(((0.2, 3.14159, 33.6),), ((0.08421, 0.987, 12.34),)))
    assert lists == AnchorLists(((0.5, 3.1, 34),), ((0.084, 0.99, 12.0),))
