"""The command line: `gaesignals`, or `python -m gaesignals`. The library never imports it."""
