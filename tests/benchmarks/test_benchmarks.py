"""Do the benchmarks compare what is equal, and does their one entry leave what was measured?"""

import json
import sys

import bench_moe
import bench_tables
import naive_tables
import numpy as np
import pytest
import run
import tools
import torch
from tools import Row

ROW = Row("toy", "a case", "ours", "median", 1.5, "s", "at most 2 s", True, low=1.0, high=2.0)


# -- tools ---------------------------------------------------------------------------------------------------------------


def test_rows_come_back_as_they_were_written(tmp_path):
    path = tmp_path / "deep" / "rows.json"
    tools.write([ROW, Row("toy", "b", "theirs", "median", 3.0, "s")], path, machine={"cpu": "x"})
    assert tools.read(path) == [ROW, Row("toy", "b", "theirs", "median", 3.0, "s")]
    assert json.loads(path.read_text())["machine"] == {"cpu": "x"}
    assert not list(path.parent.glob("*.part"))
    assert tools.read(tmp_path / "nothing.json") == []


def test_the_table_is_aligned_and_says_in_words_whether_a_target_was_met():
    missed = Row("toy", "a much longer case", "ours", "median", 12345.6, "ms", "at most 2 ms", False)
    head, *lines = tools.table([ROW, missed, Row("toy", "c", "theirs", "median", 0.00321, "s")]).splitlines()
    assert [line.split()[-1] for line in lines] == ["met", "MISSED", "s"]
    assert "12,346 ms" in lines[1]
    assert "1 to 2" in lines[0]
    assert len({line.index("median") for line in lines}) == 1
    assert head.index("metric") == lines[0].index("median")


def test_functions_are_timed_in_turn_there_and_back():
    asked: list[str] = []
    times = tools.alternating({name: (lambda name=name: asked.append(name)) for name in "ab"}, repeats=3, warm=1)
    assert asked == [*"ab", *"ab", *"ba", *"ab"]
    assert {name: len(values) for name, values in times.items()} == {"a": 3, "b": 3}
    assert all(value >= 0 for values in times.values() for value in values)


def test_a_time_is_that_of_the_call():
    ticks = iter([1.0, 3.5])
    assert tools.seconds(lambda: None, clock=lambda: next(ticks)) == 2.5
    (row,) = tools.timed("toy", "case", {"ours": [0.1, 0.2, 0.3, 0.4, 0.5]}, "ms")
    assert (row.value, row.low, row.high) == pytest.approx((300, 200, 400))


def test_each_default_is_an_option():
    options = tools.arguments("doc", ["--rows", "7", "--quick", "--json", "x.json"], rows=3, model="derl", aligned=False)
    assert (options.rows, options.model, options.aligned, options.quick, options.json.name) == (7, "derl", False, True, "x.json")
    assert tools.arguments("doc", []).repeats == 5


# -- the entry -----------------------------------------------------------------------------------------------------------

TOY = """
import sys
sys.path.insert(0, {here!r})
from tools import Row, arguments, finish
options = arguments(__doc__)
print("on its way")
{body}
finish([Row("toy", "quick" if options.quick else "whole", "ours", "median", 1.0, "s", "at most 2 s", True)], options)
"""


@pytest.fixture
def toys(tmp_path, monkeypatch):
    for name, body in {"good": "", "broken": "raise ValueError('no such thing')", "last": ""}.items():
        (tmp_path / f"bench_{name}.py").write_text(TOY.format(here=str(run.HERE), body=body))
    found = run.benchmarks(tmp_path)
    monkeypatch.setattr(run, "benchmarks", lambda: found)
    monkeypatch.setattr(run, "machine", lambda: {"cpu": "toy", "cores": 1, "load": 0.0, "matmul_gflops": 1.0, "torch": "0"})
    return tmp_path


def test_every_benchmark_that_lies_there_is_found():
    assert {"moe", "tables", "startup", "attribution", "explore", "search", "training"} <= set(run.benchmarks())
    with pytest.raises(ValueError, match="no benchmark is called 'speed'; these exist: .*moe"):
        run.wanted("moe,speed", run.benchmarks())
    assert list(run.wanted("tables, moe", run.benchmarks())) == ["tables", "moe"]


def test_one_that_fails_is_told_in_a_line_and_the_others_go_on(toys, capsys):
    assert run.main(["--json", str(toys / "all.json"), "--quick"]) == 1
    said = capsys.readouterr().out
    assert "FAILED: ValueError: no such thing" in said
    assert "2 of 2 targets met; failed: broken" in said
    assert [row.case for row in tools.read(toys / "all.json")] == ["quick", "quick"]
    assert json.loads((toys / "all.json").read_text())["machine"]["cpu"] == "toy"
    assert "on its way" not in said


def test_whom_one_asks_for_is_all_that_runs(toys, capsys):
    assert run.main(["--only", "last", "--logs", str(toys / "logs")]) == 0
    assert [path.name for path in sorted((toys / "logs").glob("*.log"))] == ["last.log"]
    assert run.main(["--only", "none"]) == 2
    assert "these exist: broken, good, last" in capsys.readouterr().err


def test_an_interruption_leaves_what_was_measured(toys, monkeypatch):
    measure = run.measure

    def stopped(file, log, arguments):
        if file.stem == "bench_last":
            raise KeyboardInterrupt
        return measure(file, log, arguments)

    monkeypatch.setattr(run, "measure", stopped)
    assert run.main(["--only", "good,last", "--json", str(toys / "all.json")]) == run.INTERRUPTED
    assert len(tools.read(toys / "all.json")) == 1


def test_the_machine_is_described():
    facts = run.machine()
    assert facts["matmul_gflops"] > 0.1
    assert facts["cpu"]
    assert facts["torch"] == torch.__version__
    assert sys.version.startswith(facts["python"])


# -- what is compared is equal -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tokens", [1, 40, 200])
def test_all_ways_to_run_a_mixture_give_the_same_values_and_gradients(tokens):
    torch.manual_seed(0)
    bench_moe.agree(bench_moe.layers(16, dispatches=True), torch.randn(tokens, bench_moe.WIDTH), torch.randn(tokens, bench_moe.WIDTH))


def test_a_way_that_loses_a_token_is_caught():
    class Forgetful(bench_moe.Dense):
        def forward(self, x):
            return super().forward(x) * torch.arange(len(x)).clamp(max=1)[:, None]

    ways = bench_moe.layers(16)
    ways["dense"] = Forgetful(ways["msaviz"].mixture)
    with pytest.raises(AssertionError, match="dense"):
        bench_moe.agree(ways, torch.randn(20, bench_moe.WIDTH), torch.randn(20, bench_moe.WIDTH))


@pytest.fixture(scope="module")
def trace():
    return naive_tables.few(bench_tables.traced(240), 40)


@pytest.mark.parametrize("name", bench_tables.CASES)
def test_a_loop_gives_the_numbers_of_its_table(name, trace):
    bench_tables.agree(name, naive_tables.few(trace, 8) if name == "modality_shapley" else trace)


def test_a_loop_with_another_number_is_caught(trace, monkeypatch):
    right = naive_tables.expert_usage(trace)
    key = next(key for key, value in right.items() if value[0] > 0.1)
    monkeypatch.setattr(naive_tables, "expert_usage", lambda trace: {**right, key: (right[key][0] + 0.01,)})
    with pytest.raises(AssertionError, match="expert_usage"):
        bench_tables.agree("expert_usage", trace)
    assert np.isfinite(list(right.values())).all()
