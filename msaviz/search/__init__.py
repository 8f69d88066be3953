"""Evolution over a model's searchable options, beside its controls."""
