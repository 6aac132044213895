"""What the weights of a neuron say by themselves: cosines, norms, read-write class, tokens, nearest neurons."""
