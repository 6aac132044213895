"""Versions of stages: what makes a stage run again, and the decisions about changes of its code."""
