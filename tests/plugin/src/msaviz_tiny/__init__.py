"""A plug-in of msaviz in four small files."""
