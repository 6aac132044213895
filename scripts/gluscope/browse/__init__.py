"""A live site of a run: any neuron's page made when it is asked for, and what neurons do in a reader's own text."""
