"""Does the engine keep its word: an exact budget, nothing trained twice, nothing lost, on one machine or on many?"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState, create_trial
from planted import planted, record, start

from msaviz import override
from msaviz.options import paths
from msaviz.search import worker
from msaviz.search.proxy import Measured
from msaviz.search.record import Search
from msaviz.search.storage import this_process
from msaviz.search.worker import arms_of, hopeless, work

HERE = Path(__file__).parent


def process(search: Search, *arguments: object) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, str(HERE / "planted.py"), str(search.path), *map(str, arguments)])


def test_copies_are_answered_without_training(tmp_path):
    calls = []

    def evaluate(experiment, *rest):
        calls.append(paths(experiment)["model.split"])
        return planted(experiment, *rest)

    search = start(tmp_path / "s", genes=("model.router", "model.heads"), trials=8, population=4)
    work(search, evaluate)
    trials = search.evolution.trials
    copies = trials[trials["copy_of"] >= 0]
    assert len(calls) == 8 == (trials["copy_of"] < 0).sum()
    assert len(copies)
    for _, copy in copies.iterrows():
        original = trials.loc[trials["trial"] == copy["copy_of"]].iloc[0]
        assert (copy["error"], copy["parameters"]) == (original["error"], original["parameters"])
        assert original["copy_of"] == -1


def test_an_arm_that_finds_nothing_new_stops(tmp_path):
    search = start(tmp_path / "s", genes=("model.router",), trials=10)  # there are only three
    work(search, planted)
    trials = search.evolution.trials
    assert (trials["copy_of"] < 0).sum() == 3
    assert (trials["copy_of"] >= 0).tail(20).all()


def test_a_genome_that_is_refused_fails_with_its_message_and_costs_no_budget(tmp_path):
    def evaluate(experiment, *rest):
        if experiment.model.router == "soft":
            raise ValueError("no soft\nrouters here")
        if experiment.model.router == "noisy_top_k":
            return Measured(float("nan"), 10)
        return planted(experiment, *rest)

    search = start(tmp_path / "s", genes=("model.router", "model.dropout"), trials=4, sampler="random")
    work(search, evaluate)
    trials = search.evolution.trials
    assert (trials["state"] == "complete").sum() == 4
    assert (trials["state"] == "failed").any()
    told = {t.user_attrs.get("message") for t in search.study("random").trials}
    assert told == {None, "ValueError: no soft routers here", "FloatingPointError: the objective 'mae' is nan"}


def test_what_is_not_the_genomes_fault_stops_the_search_and_gives_the_trial_back(tmp_path):
    def evaluate(*_):
        raise OSError("no space left")

    search = start(tmp_path / "s")
    with pytest.raises(OSError, match="no space"):
        work(search, evaluate)
    work(search, planted)
    other = start(tmp_path / "t")
    work(other, planted)
    assert record(search).equals(record(other))


def finished(curve, parameters):
    attrs = {"curve": curve, "measured": {"error": curve[-1], "parameters": parameters}}
    return create_trial(state=TrialState.COMPLETE, values=[curve[-1], parameters], user_attrs=attrs)


def test_hopeless_is_worse_than_the_median_and_than_one_no_larger():
    done = [finished([1.0, 0.1 * i, 0.01], 100 + i) for i in range(1, 6)]  # median at epoch 2: .3
    assert hopeless(2, 0.31, 101, done)
    assert not hopeless(1, 9.0, 101, done)
    assert not hopeless(2, 0.29, 101, done)
    assert not hopeless(2, 0.31, 100, done)  # nobody is so small
    assert not hopeless(2, 0.31, 101, done[:4])
    assert not hopeless(2, float("inf"), 101, done)
    assert hopeless(5, 0.011, 101, done)  # a curve that ended early stays where it ended


def test_hopeless_trials_are_stopped_and_count(tmp_path):
    for prune in (True, False):
        search = start(tmp_path / str(prune), trials=20, epochs=4, prune=prune, sampler="random")
        work(search, planted)
        trials = search.evolution.trials
        pruned = trials[trials["state"] == "pruned"]
        assert (len(pruned) > 0) == prune
        assert len(trials[trials["copy_of"] < 0]) == 20
        assert (pruned["epochs"].between(2, 3)).all()
        assert pruned["error"].notna().all()


def test_a_killed_search_goes_on_to_the_record_of_an_uninterrupted_one(tmp_path):
    whole = start(tmp_path / "whole" / "s", population=3)
    work(whole, planted)
    broken = start(tmp_path / "broken" / "s", population=3)
    one = process(broken, 6, tmp_path / "flag")
    assert one.wait() == -signal.SIGKILL
    kept = record(broken)
    assert (kept["state"] == "complete").sum() == 5
    assert (kept["state"] == "running").sum() == 1
    work(broken, planted)
    assert record(broken).equals(record(whole))
    assert record(broken).head(5).equals(kept.head(5))
    assert broken.evolution.genes.equals(whole.evolution.genes)


def test_a_search_goes_on_to_more_trials_as_if_it_had_been_asked_for_them_at_first(tmp_path):
    whole = start(tmp_path / "whole" / "s", trials=9)
    work(whole, planted)
    short = start(tmp_path / "short" / "s", trials=4)
    work(short, planted)
    assert len(short.evolution.trained) == 4
    longer = start(tmp_path / "short" / "s", trials=9)
    work(longer, planted)
    assert record(longer).equals(record(whole))
    with pytest.raises(ValueError, match="population: 4 there, 5 asked"):
        start(tmp_path / "short" / "s", trials=9, population=5)


def shared(search: Search) -> None:
    """Two worker processes, after a third one was killed in its second trial: the budget is exact and every turn is there once."""
    killed = process(search, 2, search.path / "flag")
    assert killed.wait() == -signal.SIGKILL  # before the others begin: a slow start must not leave it without a second trial
    workers = [process(search), process(search)]
    assert [one.wait() for one in workers] == [0, 0]
    trials = search.evolution.trials
    assert (trials["state"] == "complete").all()
    assert (trials["copy_of"] < 0).sum() == search.settings.trials
    assert trials["trial"].is_unique


def test_two_workers_on_one_journal_keep_the_budget(tmp_path):
    shared(start(tmp_path / "s", trials=16))


def test_two_threads_that_ask_at_once_keep_the_budget(tmp_path):
    search = start(tmp_path / "s", trials=12)

    def one(_):
        work(Search.open(search.path), lambda *a: (time.sleep(0.01), planted(*a))[1])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, range(4)))
    assert (search.evolution.trials["copy_of"] < 0).sum() == 12


def test_a_database_serves_two_machines_with_folders_of_their_own(tmp_path):
    url = f"sqlite:///{tmp_path / 'trials.db'}"
    genes = ("model.layers", "model.dropout")
    searches = [start(tmp_path / name / "s", url, genes=genes, trials=5) for name in "ab"]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda search: work(search, planted), searches))
    one, two = map(record, searches)
    assert one.equals(two)
    assert (one["copy_of"] < 0).sum() == 5
    with pytest.raises(ValueError, match="population: 4 there, 5 asked"):
        start(tmp_path / "c" / "s", url, genes=genes, trials=5, population=5)


def test_a_grpc_server_serves_two_processes(tmp_path, free_port):
    from optuna.storages import get_storage, run_grpc_proxy_server

    storage, pool = get_storage(f"sqlite:///{tmp_path / 'trials.db'}"), ThreadPoolExecutor(4)

    def serve():
        with warnings.catch_warnings(action="ignore", category=optuna.exceptions.ExperimentalWarning):
            run_grpc_proxy_server(storage, port=free_port, thread_pool=pool)

    threading.Thread(target=serve, daemon=True).start()
    search = start(tmp_path / "s", f"grpc://localhost:{free_port}", trials=5)
    shared(search)


@pytest.fixture
def free_port():
    import socket

    with socket.socket() as one:
        one.bind(("localhost", 0))
        return one.getsockname()[1]


def test_a_storage_that_does_not_answer_is_told(tmp_path, monkeypatch, free_port):
    monkeypatch.setattr("msaviz.search.storage.WAIT", 0.2)
    with pytest.raises(ValueError, match="no gRPC storage server answers"):
        start(tmp_path / "s", f"grpc://localhost:{free_port}")
    with pytest.raises(ValueError, match="grpc://host:port"):
        start(tmp_path / "t", "grpc://localhost")
    with pytest.raises(ValueError, match="no storage answers|needs a package"):
        start(tmp_path / "u", f"sqlite:///{tmp_path}/absent/trials.db")
    with pytest.raises(ValueError, match="no storage answers"):
        start(tmp_path / "v", "nonsense")


def test_a_silent_worker_of_another_machine_is_lost_after_a_while(tmp_path, monkeypatch):
    search = start(tmp_path / "s", trials=1)
    (arm,) = arms_of(search)
    trial = arm.ask()
    elsewhere = {**this_process(), "host": "elsewhere", "time": time.time()}
    trial.set_user_attr("worker", elsewhere)
    arm.revive()
    assert [t.state.name for t in arm.trials] == ["RUNNING"]
    monkeypatch.setattr(worker, "SILENCE", -1.0)
    arm.revive()
    assert [t.state.name for t in arm.trials] == ["FAIL", "WAITING"]
    monkeypatch.undo()
    arm.revive()
    arm.step(None, planted)
    assert arm.trials[1].params == arm.trials[0].params
    assert record(search)["trial"].tolist() == [0]
    assert arm.finished


def test_the_journal_of_a_crash_is_read_up_to_its_last_whole_line(tmp_path):
    search = start(tmp_path / "s", trials=3)
    work(search, planted)
    with (search.path / "journal.log").open("ab") as file:
        file.write(b'{"op_code":4,"wor')
    again = Search.open(search.path)
    assert record(again).equals(record(search))
    assert (search.path / "journal.log").read_bytes().endswith(b"\n")


def test_the_seed_of_the_default_arm_moves_and_no_other(tmp_path):
    seeds = {}

    def evaluate(experiment, *rest):
        seeds.setdefault(len(seeds), experiment.seed)
        return planted(experiment, *rest)

    search = start(tmp_path / "s", experiment=override(start(tmp_path / "x").settings.experiment, {"seed": 7}), trials=3, controls=True)
    work(search, evaluate)
    assert sorted(seeds.values()) == [7] * 7 + [8, 9]
    assert (search.evolution.trials["copy_of"] < 0).all()
