"""Which figures were published for a dataset, under which protocol, and how was the checkpoint chosen?

They stand in published.csv, in the words and the units of `msaviz.training.protocols.evaluate`: accuracies are shares, `protocol`
"missing" is the mean over the missing rates 0 to 0.9, `selection` says by what the checkpoint was chosen ("not stated": nobody says).
Numbers of another protocol or selection than yours are there for orientation; nothing can be argued from them.
"""

from __future__ import annotations

import re
from importlib.resources import files

import pandas as pd

COLUMNS = ["model", "dataset", "protocol", "selection", "metric", "value", "source"]


def published(dataset: str, *, protocol: str = "", selection: str = "", metric: str = "") -> pd.DataFrame:
    """The published figures of a dataset (COLUMNS), in the file's order; of one protocol, selection or metric where it is named.

    Upper and lower case are one. An unknown dataset, and one without such figures, gives an empty frame.
    """
    frame = _all()
    wanted = {"dataset": dataset.lower(), "protocol": protocol, "selection": selection, "metric": metric}
    for column, value in wanted.items():
        if value or column == "dataset":
            frame = frame[frame[column] == value]
    return frame.reset_index(drop=True)


def named_in(dataset: str) -> pd.DataFrame:
    """The published figures of the datasets that a name speaks of: "mosi_standard" of mosi; none of others."""
    frame = _all()
    return frame[frame["dataset"].isin(words(dataset))].reset_index(drop=True)


def _all() -> pd.DataFrame:
    with files("msaviz.training").joinpath("published.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file, keep_default_na=False)[COLUMNS]


def words(name: str) -> list[str]:
    """The parts of a name in lower case: "MOSI_standard" -> mosi, standard."""
    return re.split(r"[\W_]+", name.lower())


def wide(frame: pd.DataFrame) -> pd.DataFrame:
    """A row a model, protocol and selection, a column a metric (NaN where no figure was published), the source last."""
    keys = ["model", "dataset", "protocol", "selection"]
    table = frame.pivot(index=keys, columns="metric", values="value")
    order = frame.drop_duplicates(keys)
    table = table.loc[pd.MultiIndex.from_frame(order[keys]), list(dict.fromkeys(frame["metric"]))]
    return table.assign(source=order["source"].to_numpy()).rename_axis(columns=None).reset_index()


def told(dataset: str, frame: pd.DataFrame) -> str:
    """What published figures have to do with results on `dataset`, in one or two sentences."""
    if frame.empty:
        return f"No published figures are known for {dataset}."
    names = list(dict.fromkeys(frame["dataset"]))
    if set(names) & set(words(dataset)):
        kinds = ", ".join(f"{p} / {s}" for p, s in dict.fromkeys(zip(frame["protocol"], frame["selection"], strict=True)))
        rule = f"Set beside yours only rows of the same protocol and selection ({kinds})."
        return f"Published figures of {', '.join(names)}; make sure that {dataset} is the same split. {rule}"
    return f"No published figure exists for {dataset}. Those of {', '.join(names)} are for orientation, not rivals of these results."
