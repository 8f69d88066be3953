"""Questions about a trace: a file per question, `TABLES[name](trace)` -> tidy DataFrame."""
