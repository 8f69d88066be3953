"""Where do the sequences come from? A file per kind of source, each offering `DATA`; `load.load(source)` finds the right one."""
