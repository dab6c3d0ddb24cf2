"""The command line: the last room of the house. It may import every other room; no other room imports it.

DESIGN places it in ``sdk_reference``; it stands apart because ``flashproof train`` and ``flashproof export`` need torch
and the converters, which ``sdk_reference`` must never import.
"""
