"""Many notebooks at once: the good ones end, the bad ones are told in a line each, and no kernel outlives the runner."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from msaviz.app.cli import main
from msaviz.app.notebooks import Outcome, run_notebooks, summary

KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
PID = "import os; from pathlib import Path; _ = Path(PIDS, str(os.getpid())).write_text(os.environ.get('OMP_NUM_THREADS', ''))"
CHILD = "import subprocess; child = subprocess.Popen(['sleep', '600']); _ = Path(PIDS, str(child.pid)).touch()"


def written(folder: Path, name: str, *sources: str, parameters: str = "") -> str:
    cells = [new_code_cell(source) for source in (f'PIDS: str = ""\n{parameters}', PID, *sources)]
    cells[0].metadata["tags"] = ["parameters"]
    folder.mkdir(exist_ok=True)
    nbformat.write(new_notebook(metadata={"kernelspec": KERNEL}, cells=cells), folder / f"{name}.ipynb")
    return str(folder / f"{name}.ipynb")


def alive(pids: Path) -> list[int]:
    """Processes that wrote their number into the folder and still run; a zombie, whose parent has not looked yet, does not."""
    found = [int(path.name) for path in pids.iterdir()]
    assert found, "no notebook ever started"
    return [pid for pid in found if _state(pid) not in ("", "Z", "X")]


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def gone(pids: Path, seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while alive(pids) and time.monotonic() < end:
        time.sleep(0.1)
    return not alive(pids)


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    return int(stop.value.code or 0)


@pytest.fixture
def pids(tmp_path) -> Path:
    (tmp_path / "pids").mkdir()
    return tmp_path / "pids"


def test_the_others_finish_and_each_failure_is_one_line(tmp_path, pids, capsys):
    """One that is good, one that fails, one that hangs and one that dies, two at a time."""
    source = tmp_path / "source"
    names = [
        written(source, "hanging", CHILD, "import time; time.sleep(600)"),
        written(source, "dying", CHILD, "os._exit(1)"),
        written(source, "failing", "1 / 0"),
        written(source, "good", "print(COUNT)", parameters="COUNT: int = 3"),
    ]
    out = tmp_path / "out"
    given = ("-p", "PIDS", pids, "-p", "COUNT", 7)
    assert run("notebook", *names, "--out", out, "--workers", 2, "--timeout", 5, "--quiet", *given) == 2
    said = capsys.readouterr()
    lines = said.err.splitlines()
    assert [line.partition(" (see ")[0] for line in lines] == [
        "msaviz: hanging.ipynb, cell 4 (import time; time.sleep(600)): took more than 5 s",
        "msaviz: dying.ipynb, cell 4 (os._exit(1)): its Python process died, perhaps for want of memory",
        "msaviz: failing.ipynb, cell 3 (1 / 0): ZeroDivisionError: division by zero",
    ]
    assert said.out.startswith("1 of 4 notebooks ran; failed: hanging, dying, failing (")
    assert gone(pids), "kernels, and what they started, outlive the runner"
    assert {path.read_text() for path in pids.iterdir() if path.read_text()} == {"1"}, "one thread each"
    assert sorted(path.name for path in out.iterdir()) == ["dying.ipynb", "failing.ipynb", "good.ipynb", "hanging.ipynb"]
    good = nbformat.read(out / "good.ipynb", as_version=4)
    assert good.cells[-1].outputs[0].text == "7\n"
    assert good.metadata.papermill.output_path == str(out / "good.ipynb")


def test_they_run_at_the_same_time_and_come_back_in_order(tmp_path, pids):
    """Each waits for the other's word: one after the other they would wait for ever."""
    wait = "import time\nwhile not Path(PIDS, '{}').exists(): time.sleep(0.05)"
    one = written(tmp_path / "source", "one", "_ = Path(PIDS, '1').touch()", wait.format("2"))
    two = written(tmp_path / "source", "two", "_ = Path(PIDS, '2').touch()", wait.format("1"))
    found = run_notebooks([two, one, two], tmp_path / "out", {"PIDS": str(pids)}, workers=2, timeout=60, progress=False)
    assert [(o.name, o.path, o.error) for o in found] == [(n, tmp_path / "out" / f"{n}.ipynb", "") for n in ("two", "one")]
    assert all(o.seconds > 0 for o in found)


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill"])
def test_stopping_the_runner_leaves_no_kernel(tmp_path, pids, ending):
    names = [written(tmp_path / "source", name, "import time; time.sleep(600)") for name in ("one", "two", "three")]
    command = [
        sys.executable,
        "-m",
        "msaviz",
        "notebook",
        *names,
        "--out",
        str(tmp_path / "out"),
        "--workers",
        "2",
        "-p",
        "PIDS",
        str(pids),
    ]
    runner = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
    end = time.monotonic() + 60
    while len(list(pids.iterdir())) < 2 and time.monotonic() < end:
        time.sleep(0.1)
    assert len(alive(pids)) == 2
    os.kill(runner.pid, ending)
    _, told = runner.communicate(timeout=30)
    assert gone(pids)
    assert len(list(pids.iterdir())) == 2, "the third one never started"
    if ending == signal.SIGINT:
        assert runner.returncode == 130
        assert told == "msaviz: stopped.\n"
    assert not list((tmp_path / "out").glob("*")), "a copy is whole or absent"


def test_a_parameter_goes_to_those_that_have_it(tmp_path, pids):
    with_it = written(tmp_path / "source", "with", "print(RATE)", parameters="RATE: float = 0.5")
    without = written(tmp_path / "source", "without", "print('RATE' in dir())")
    found = run_notebooks([with_it, without], tmp_path / "out", {"RATE": "0.25", "PIDS": str(pids)}, workers=2, progress=False)
    assert [o.error for o in found] == ["", ""]
    assert [nbformat.read(o.path, as_version=4).cells[-1].outputs[0].text for o in found] == ["0.25\n", "False\n"]


def test_mistakes_are_told_before_anything_runs(tmp_path, capsys):
    names = [written(tmp_path / "source", name, parameters="COUNT: int = 3") for name in ("one", "two")]
    out = tmp_path / "out"
    twin = written(tmp_path / "other", "one")
    for arguments, told in [
        ([*names, "-p", "NONSENSE", "1"], "none of these notebooks has a parameter 'NONSENSE'; they have PIDS, COUNT"),
        ([*names, "-p", "COUNT", "x"], "one.ipynb: COUNT must be like its default 3, got 'x'"),
        ([*names, "nonsense"], "no notebook is called 'nonsense'; these exist: "),
        ([*names, twin], "two of the notebooks are called one.ipynb"),
        ([*names, "--workers", "0"], "at least one notebook must run at a time; got 0 workers"),
        ([*names, "--all"], "name notebooks, or give --all instead"),
        ([], "name notebooks, or give --all instead"),
    ]:
        assert run("notebook", *arguments, "--out", out) == 2
        said = capsys.readouterr().err
        assert told in said
        assert said.count("\n") == 1
    assert run("notebook", *names, "--out", tmp_path / "source") == 2
    assert "choose another for the executed copies" in capsys.readouterr().err
    assert not out.exists()


def test_what_stops_a_notebook_before_its_first_cell_is_told_too(tmp_path):
    broken = written(tmp_path / "source", "broken")
    content = json.loads(Path(broken).read_text())
    content["metadata"]["kernelspec"]["name"] = "no-such-kernel"
    Path(broken).write_text(json.dumps(content))
    (found,) = run_notebooks([broken], tmp_path / "out", progress=False)
    assert found.error.startswith("broken.ipynb, ")
    assert "no-such-kernel" in found.error
    assert "\n" not in found.error


def test_summary_counts():
    outcomes = [Outcome("a", Path("out/a.ipynb"), 1.0), Outcome("b", Path("out/b.ipynb"), 1.0)]
    assert summary(outcomes, 12.3) == "2 of 2 notebooks ran; none failed (12 s, copies in out)"
