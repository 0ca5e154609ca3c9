"""The command line: reads the environment, builds the objects, passes them in; decides nothing else."""

VERSION = "0.1.0"
