"""Pictures of tables: a file per picture, `VIEWS[name](frame)` -> plotly Figure. pandas and plotly only, no torch."""
