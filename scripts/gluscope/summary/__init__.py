"""Counts, sums and extremes of every neuron: the types, how two sets of texts merge, the refactored view."""
