"""What does a view make of a table whose numbers are unknown, all alike or enormous?"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from degenerate import UNREAD, answered, legible, trained
from endurance import TIMES, tell, tries
from planted_evolution import answers

from msaviz.catalog import VIEWS
from msaviz.viz.gains import room
from msaviz.viz.view import UNKNOWN

FRAMES = {name: frame for name, frame in answers().items() if len(frame)}
PLANTED = [name for name, view in VIEWS.items() if view.table in FRAMES]


@pytest.mark.parametrize("name", [name for name, view in VIEWS.items() if view.known and view.table in FRAMES])
def test_where_no_number_is_known_both_picture_and_sentence_say_so(name):
    view = VIEWS[name]
    frame = FRAMES[view.table].assign(**dict.fromkeys(view.known, np.nan))
    assert view.read(frame) == UNKNOWN
    assert UNKNOWN in [note.text for note in view(frame).layout.annotations]


@pytest.mark.parametrize("name", PLANTED)
def test_rows_without_a_number_are_left_out(name):
    view = VIEWS[name]
    frame = FRAMES[view.table]
    for seed in range(tries(2)):
        spoiled = frame.copy()
        spoiled.loc[np.random.default_rng(seed).random(len(frame)) < 0.3, list(view.known)] = np.nan
        legible(name, view(spoiled))
        assert not UNREAD.search(view.read(spoiled))
    tell("views of unknown numbers", tries(2), legible=tries(2))


@pytest.mark.parametrize("size", [0.0, 1e30] if TIMES >= 10 else [1e30])
def test_numbers_of_any_size_are_drawn_and_read(size, tmp_path):
    views = 0
    frames = dict(answered(trained("one test row", "unimodal", tmp_path)))
    for name, view in VIEWS.items():
        frame = frames.get(view.table)
        if frame is not None and len(frame) and view.known:
            numbers = [c for c in view.known if frame[c].dtype.kind == "f"]
            scaled = frame.assign(**{c: size * frame[c] for c in numbers})
            legible(name, view(scaled))
            assert not UNREAD.search(view.read(scaled))
            views += 1
    assert views > 5


def test_a_panel_of_which_nothing_is_known_has_an_axis_all_the_same():
    numbers = pd.DataFrame([[2.0, 1.0, 3.0, np.nan], [np.nan] * 4], columns=["value", "low", "high", "floor"])
    assert room(numbers) == pytest.approx([0.88, 3.48])
    assert room(numbers[1:]) == pytest.approx([-0.06, 1.24])
