"""Gate and in at every token of a neuron's example texts: from the cache, the replay or the model."""
