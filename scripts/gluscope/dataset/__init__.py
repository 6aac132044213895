"""Texts in, token data sets out: sources, tokenising, the choice of rows, the plan of shards, reading.

`datasets` is imported by sources.py, table.py and build.py alone, and only when used.
"""
