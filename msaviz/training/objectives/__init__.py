"""What is minimised: a file per objective, `OBJECTIVES[name](spec, config)(output, batch)` -> weighted terms by name."""
