"""What is minimised: a file per objective, `OBJECTIVES[name](spec, config)(system, batch, progress)` -> weighted terms by name."""
