"""Tiny bias: is the model too high or too low on average?"""

import pandas as pd

from msaviz.interpret.table import Table
from msaviz.interpret.trace import Trace


def answer(trace: Trace) -> pd.DataFrame:
    return pd.DataFrame({"run": [trace.run], "metric": ["bias"], "value": [trace.examples["error"].mean()]})


TABLE = Table(("run", "metric", "value"), answer)
