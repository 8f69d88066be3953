"""Whole models: a file per model, `MODELS[name](spec, config)`; each forward is `Batch -> Output`."""
