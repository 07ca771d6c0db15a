"""The commands of the command line, each a frozen dataclass: its fields are the options, its `run` does the work."""
