"""Do the tables of an evolution find what was planted in it, and keep their laws?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import optuna
import pandas as pd
import pytest
from planted_evolution import DEFAULT, evolution, subset_traces

from msaviz.catalog import TABLES
from msaviz.interpret.evolution import GENES, TRIALS, Evolution
from msaviz.interpret.gene_frequency import written
from msaviz.interpret.search_progress import area

NAMES = [name for name, table in TABLES.items() if table.of == "evolution"]


@pytest.fixture(scope="module")
def evolved():
    return evolution()


@pytest.fixture(scope="module")
def traces():
    return subset_traces()


def made(errors, *, arm="nsga2", ranges=None, genes=(), **columns) -> Evolution:
    """Trials of one arm with these errors; `columns` replace what is the same for all, `genes`: {gene: values}."""
    plain = {"generation": 0, "state": "complete", "parameters": 10.0, "seconds": 1.0, "parent": -1, "other": -1}
    plain |= {"crossed": "", "mutated": "", "inherited": 0.0, "copy_of": -1, "epochs": 1}
    trials = pd.DataFrame({"arm": arm, "trial": range(len(errors)), "error": errors, **plain, **columns})[list(TRIALS)]
    rows = [
        (arm, trial, gene, str(value), np.nan if isinstance(value, str) else float(value))
        for gene, values in dict(genes).items()
        for trial, value in enumerate(values)
    ]
    return Evolution("made", trials, pd.DataFrame(rows, columns=list(GENES)), ranges or {})


@pytest.mark.parametrize("name", NAMES)
def test_nothing_tried_is_an_empty_frame(name):
    frame = TABLES[name](Evolution("new", pd.DataFrame(columns=list(TRIALS)), pd.DataFrame(columns=list(GENES)), {}))
    assert frame.empty
    assert tuple(frame.columns) == TABLES[name].columns


@pytest.mark.parametrize("name", [name for name in NAMES if name != "gene_frequency"])
def test_a_trial_without_an_error_changes_nothing(evolved, name):
    quick = {"permutations": 1, "seeds": 1, "trees": 2} if name == "gene_importance" else {}
    lost = evolved.trials.iloc[[-1, -1]].assign(arm="nsga2", trial=[900, 901], state=["running", "failed"], error=np.nan, parameters=np.nan)
    more = replace(evolved, trials=pd.concat([evolved.trials, lost], ignore_index=True))
    pd.testing.assert_frame_equal(TABLES[name](more, **quick), TABLES[name](evolved, **quick))


def test_the_front_is_what_no_trial_beats(evolved):
    frame = TABLES["pareto_front"](evolved)
    for _, arm in frame.groupby("arm"):
        for row in arm.itertuples():
            as_good = arm[(arm["error"] <= row.error) & (arm["parameters"] <= row.parameters)]
            beaten = ((as_good["error"] < row.error) | (as_good["parameters"] < row.parameters)).any()
            assert row.front == (not beaten)
    evolved = frame[frame["arm"] == "nsga2"].set_index("trial")
    assert {14, 15}.isdisjoint(evolved.index)  # a copy and a pruned trial
    assert evolved["origin"].value_counts().to_dict() == {"child": 30, "random": 7, "default genome": 1}
    assert set(frame.loc[frame["arm"] == "random", "origin"]) == {"random"}
    assert set(frame.loc[frame["arm"] == "default", "origin"]) == {"default genome"}


def test_a_sampler_without_parents_begins_at_random():
    frame = TABLES["pareto_front"](made([1.0, 2.0, 3.0], arm="tpe", generation=[0, 0, 1]))
    assert frame["origin"].tolist() == ["random", "random", "sampled"]


def test_equal_trials_are_both_on_the_front():
    frame = TABLES["pareto_front"](made([1.0, 1.0, 2.0], parameters=[5.0, 5.0, 5.0]))
    assert frame["front"].tolist() == [True, True, False]


def test_the_gains_of_the_ancestors_add_up_to_the_winner(evolved):
    frame = TABLES["lineage"](evolved)
    assert set(frame["arm"]) == {"nsga2"}
    trained = evolved.trained[evolved.trained["arm"] == "nsga2"]
    winner = int(trained.loc[trained["error"].idxmin(), "trial"])
    line = frame[frame["ancestor"]].set_index("trial")
    parents = [winner]
    while line.loc[parents[-1], "parent"] >= 0:
        parents.append(int(line.loc[parents[-1], "parent"]))
    assert sorted(parents) == sorted(line.index)
    assert line["gain"].sum() == pytest.approx(line.loc[parents[-1], "error"] - line.loc[winner, "error"])
    assert line["generation"].is_monotonic_increasing


def test_changes_are_told_in_words():
    genes = {
        "model.dim": [64, 128, 128, 64],
        "train.lr": [0.001, 0.00031234, 0.001, 0.002],
        "model.modalities[text]": [True, True, False, False],
        "model.router": ["soft", "soft", "soft", "top"],
        "model.heads": [1, 1, 1, 2],
        "model.k": [1, 1, 1, 2],
    }
    changes = {"parent": [-1, 0, 1, 0], "crossed": ["", "model.dim", "", ""], "mutated": ["", "train.lr", "a b", ""]}
    frame = TABLES["lineage"](made([1.0, 0.9, 0.95, 1.2], genes=genes, **changes))
    told = frame.set_index("trial")["changed"]
    assert told[0] == ""
    assert told[1] == "dim 64→128, lr 0.001→0.000312"
    assert told[2] == "lr 0.000312→0.001, modalities −text"
    assert told[3] == "lr 0.001→0.002, modalities −text, router soft→top, heads 1→2, 1 more"
    assert frame["crossed"].tolist() == [0, 1, 0, 0]
    assert frame["mutated"].tolist() == [0, 1, 2, 0]
    assert frame["gain"].tolist()[1:] == pytest.approx([0.1, -0.05, -0.2])
    assert frame["ancestor"].tolist() == [True, True, False, False]


def test_a_pruned_trial_never_wins():
    frame = TABLES["lineage"](made([1.0, 0.5], state=["complete", "pruned"], parent=[-1, 0]))
    assert frame["ancestor"].tolist() == [True, False]
    assert TABLES["search_progress"](made([1.0, 0.5], state=["complete", "pruned"]))["best"].tolist() == [1.0, 1.0]


def test_shares_of_a_gene_add_up_to_one(evolved):
    frame = TABLES["gene_frequency"](evolved)
    sums = frame.groupby(["arm", "generation", "gene"])["share"].sum()
    assert sums.to_numpy() == pytest.approx(1)
    assert set(frame.loc[frame["arm"] == "nsga2", "trials"]) == {8}
    dim = frame[(frame["arm"] == "nsga2") & (frame["gene"] == "model.dim")]
    assert list(pd.unique(dim["value"])) == ["16–31", "32–63", "64–127", "128–256"]  # quarters of the range in log
    last = dim[dim["generation"] == 4].set_index("value")["share"]
    assert last["128–256"] == 1.0
    default = frame[(frame["arm"] == "default") & (frame["share"] > 0)].set_index("gene")["value"]
    assert default["model.experts"] == str(DEFAULT["model.experts"])


def test_shares_by_hand():
    genes = {"a": ["x", "y", "y", "y"], "n": [10, 2, 2, 10], "wide": [0.0, 0.26, 0.74, 1.0]}
    ranges = {"a": {"choices": ["y", "x"]}, "wide": {"low": 0.0, "high": 1.0}}
    frame = TABLES["gene_frequency"](made([1.0] * 4, generation=[0, 0, 1, 1], genes=genes, ranges=ranges), distinct=3)
    found = {gene: list(zip(rows["value"], rows["share"], strict=True)) for gene, rows in frame[frame["generation"] == 0].groupby("gene")}
    assert found["a"] == [("y", 0.5), ("x", 0.5)]  # in the order of the choices
    assert found["n"] == [("2", 0.5), ("10", 0.5)]  # by size, not by letters
    assert found["wide"] == [("0–0.25", 0.5), ("0.25–0.5", 0.5), ("0.5–0.75", 0.0), ("0.75–1", 0.0)]


def test_numbers_are_short():
    assert [written(n) for n in (1024, 0.00031234, 1.5, 250.4, -0.0)] == ["1024", "0.000312", "1.5", "250", "0"]


def test_the_gene_that_decides_is_found_and_an_idle_one_is_not(evolved, capfd):
    before = optuna.logging.get_verbosity()
    quick = {"permutations": 10, "seeds": 2, "trees": 6}
    frame = TABLES["gene_importance"](evolved, **quick)
    assert optuna.logging.get_verbosity() == before
    assert capfd.readouterr().err == ""
    assert set(frame["arm"]) == {"nsga2", "random"}  # genes of "default" never vary
    for arm, rows in frame.groupby("arm"):
        rows = rows.set_index("gene")
        assert rows.index[0] == "model.dim", arm
        assert rows.loc["model.dim", "importance"] > rows.loc["model.dim", "floor"]
        assert rows.loc["model.experts", "importance"] < rows.loc["model.experts", "floor"]
        assert rows["importance"].sum() <= 1 + 1e-9
    again = TABLES["gene_importance"](replace(evolved, trials=evolved.trials.query("arm == 'random'")), **quick)
    pd.testing.assert_frame_equal(again, frame[frame["arm"] == "random"].reset_index(drop=True))


def test_a_handful_of_trials_has_no_importance():
    few = made(list(np.linspace(1, 2, 7)), genes={"a": range(7)})
    assert TABLES["gene_importance"](few).empty
    assert TABLES["gene_importance"](made([1.0] * 12, genes={"a": range(12)})).empty


def test_progress_counts_what_was_trained(evolved):
    frame = TABLES["search_progress"](evolved)
    budget = frame.groupby("arm", sort=False)["evaluations"].max().to_dict()
    assert budget == {"nsga2": 39, "random": 40, "default": 40}  # the copy costs nothing, the pruned one counts
    for arm, rows in frame.groupby("arm"):
        errors = evolved.trained[evolved.trained["arm"] == arm]["error"]
        assert rows["evaluations"].tolist() == list(range(1, len(rows) + 1))
        assert (rows["best"].diff().dropna() <= 0).all()
        assert (rows["hypervolume"].diff().dropna() >= -1e-12).all()
        assert rows["hypervolume"].between(0, 1).all()
        assert rows["best"].iloc[-1] == errors.min()
        front = TABLES["pareto_front"](evolved).query("arm == @arm")["front"].sum()
        assert rows["front"].iloc[-1] == front


def test_hypervolume_by_hand():
    one = made([3.0, 1.0, 2.0], parameters=[10.0, 30.0, 20.0], generation=0)
    frame = TABLES["search_progress"](one)
    # worst (3, 30), best (1, 10): the corners reach 0 * 1, 1 * 0 and .5 * .5 of the rectangle
    assert frame["hypervolume"].tolist() == pytest.approx([0, 0, 0.25])
    assert frame["front"].tolist() == [1, 2, 3]
    same_size = TABLES["search_progress"](made([3.0, 1.0, 2.0]))
    assert same_size["hypervolume"].tolist() == pytest.approx([0, 1, 1])


def test_area_agrees_with_a_fine_grid():
    gains = np.random.default_rng(0).uniform(size=(7, 2))
    axis = (np.arange(400) + 0.5) / 400
    inside = ((axis[:, None, None] < gains[:, 0]) & (axis[None, :, None] < gains[:, 1])).any(-1).mean()
    assert area(gains) == pytest.approx(inside, abs=0.01)
    assert area(np.zeros((0, 2))) == 0


def test_gates_of_a_subset(traces):
    frame = TABLES["gate_by_subset"](traces)
    assert list(pd.unique(frame["subset"])) == list(traces)
    assert frame.groupby(["subset", "router"])["gate"].sum().to_numpy() == pytest.approx(1)
    assert (frame["low"] <= frame["gate"] + 1e-6).all()
    assert (frame["gate"] <= frame["high"] + 1e-6).all()
    assert set(frame["router"]) == {"local/text", "local/audio", "local/vision", "global", "late"}  # single tokens are not asked
    shared = frame[frame["router"] == "global"]
    for row in shared.itertuples():
        if not set(row.expert.split("+")) <= set(row.subset.split("+")):
            assert row.gate == 0
    assert set(shared["expert"]) == set(traces)
    local = frame[frame["router"].str.startswith("local/")]
    assert all(row.router.removeprefix("local/") in row.subset.split("+") for row in local.itertuples())


def test_gates_are_means_over_what_was_routed(traces):
    frame = TABLES["gate_by_subset"](traces).set_index(["subset", "router", "expert"])
    audio = frame.sort_index().loc[("text+audio+vision", "local/audio")]
    assert audio["gate"].tolist() == pytest.approx([0.1, 0.7, 0.2])
    assert set(audio["utterances"]) == {26}  # a third of 40 has no audio
    assert frame.loc[("text", "late", "1"), "gate"] == pytest.approx(0.75)
    # audible rows: a third to each of text, audio, both; the other 14: all to text
    assert frame.loc[("text+audio", "global", "text"), "gate"] == pytest.approx((26 / 3 + 14) / 40)
    wide = frame.loc[("text+audio", "global", "text")]
    assert wide["low"] < wide["gate"] < wide["high"]


def test_a_model_that_routes_no_whole_utterance_has_no_rows(trace):
    frame = TABLES["gate_by_subset"]({"text+audio+vision": trace})
    assert frame.empty
