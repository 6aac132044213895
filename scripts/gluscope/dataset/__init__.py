"""Texts in, token data sets out: sources, tokenising, the choice of rows, the plan of shards, reading.

Only sources.py and build.py import `datasets`, and only when used; reader.py and plan.py never do.
"""
