"""Words for each sign case of a neuron, from a language model, with a score on texts that it has not seen."""
