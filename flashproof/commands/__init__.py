"""One file per sub-command of ``flashproof``: parse, build the settings, call one function, print."""
