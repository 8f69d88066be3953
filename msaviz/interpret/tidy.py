"""How does an array with named axes become a tidy frame?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd


def long(axes: Mapping[str, Sequence[Any]], **values: np.ndarray) -> pd.DataFrame:
    """One row per cell: the labels of the axes (the last one runs fastest), then one column for each array of `values`."""
    index = pd.MultiIndex.from_product([list(labels) for labels in axes.values()], names=list(axes))
    return index.to_frame(index=False).assign(**{name: np.asarray(array).reshape(-1) for name, array in values.items()})


def gathered(parts: Sequence[pd.DataFrame], columns: Sequence[str], **constants: Any) -> pd.DataFrame:
    """All `parts` under each other, with `constants` as columns, in the order `columns`; an empty frame for no parts."""
    parts = [part for part in parts if len(part)]
    if not parts:
        return pd.DataFrame(columns=list(columns))
    return pd.concat(parts, ignore_index=True).assign(**constants)[list(columns)]
