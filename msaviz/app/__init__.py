"""What does a person touch: the shell commands, the report, the notebooks?"""
