"""Does a results table say the same in Markdown, LaTeX and HTML, and is nothing in it read as markup?"""

from __future__ import annotations

import pytest
from planted_results import results_frame

from msaviz.app.results_table import tables, told, write
from msaviz.catalog import VIEWS
from msaviz.training.results import Results
from msaviz.types import Task

HOSTILE = "<img src=x onerror=alert(1)>_$\\input{/etc/passwd}$|**x**"


@pytest.fixture
def found(tmp_path):
    return Results(results_frame(), (), tmp_path, {"mosi": Task()}, warnings=("the vectors leak",))


def test_rows_columns_and_the_best(found):
    clean, missing, rates = tables(found)
    assert missing.cells["model"].tolist() == [
        *("constant predictor", "early_fusion", "derl"),
        *("LNLN (published; chosen on test, per metric)", "TCMR (published; chosen on validation)"),
    ]
    assert missing.cells["MAE ↓"].tolist() == ["1.400", "1.100 ± 0.020", "1.045 ± 0.020", "1.046", "1.072"]
    assert missing.best["MAE ↓"].tolist() == [False, False, True, False, False], "published figures are no rivals"
    assert missing.cells["gain in MAE, 95 %"].tolist() == ["", "", "+5.0 % [3.0, 7.0]", "", ""]
    assert clean.best["MAE ↓"].tolist() == [False, True, True], "what ties is best together"
    assert rates.cells.columns.tolist() == ["model", "0", "0.5", "mean"]
    assert rates.cells.iloc[1].tolist() == ["derl", "0.855", "0.950", "1.045"]
    assert rates.detailed


def test_three_files_say_the_same(found):
    assert write(found) == ["results.md", "results.tex", "results.html"]
    texts = {end: (found.path / f"results.{end}").read_text() for end in ("md", "tex", "html")}
    for text in texts.values():
        assert "1.045 ± 0.020" in text
        assert "TCMR" in text
    assert "**1.045 ± 0.020**" in texts["md"]
    assert r"\bfseries 1.045 ± 0.020" in texts["tex"]
    assert r"+5.0 \% [3.0, 7.0]" in texts["tex"]
    assert r"\toprule" in texts["tex"]
    assert "<b>1.045 ± 0.020</b>" in texts["html"]
    assert "the vectors leak" in texts["md"]
    assert "the vectors leak" in told(found)


def test_names_of_data_are_text_everywhere(found, tmp_path):
    frame = results_frame(HOSTILE)
    frame.loc[frame["model"] == "derl", "model"] = HOSTILE
    write(Results(frame, (), tmp_path, {HOSTILE: Task()}))
    assert "<img" not in (tmp_path / "results.html").read_text().split("<main>")[1].split("<script")[0]
    markdown = (tmp_path / "results.md").read_text()
    assert "<img" not in markdown.replace("\\<img", "")
    assert "**x**" not in markdown.replace("\\*\\*x\\*\\*", "")
    latex = (tmp_path / "results.tex").read_text()
    assert "\\input" not in latex
    assert "_$" not in latex.replace("\\_\\$", "")


def test_the_figure_says_who_is_best_and_marks_what_was_published():
    frame = results_frame()
    text = VIEWS["results"].read(frame)
    assert "missing: by MAE “derl” is best, 1.045" in text
    assert "+5.0 % [+3.0, +7.0], beyond chance" in text
    figure = VIEWS["results"](frame, metric="mae")
    named = {trace.name for trace in figure.data}
    assert {"compared", "the reference", "published, chosen on validation", "constant predictor"} <= named
    with pytest.raises(ValueError, match="no dataset 'mosei' in this frame; it has mosi"):
        VIEWS["results"](frame, data="mosei")
