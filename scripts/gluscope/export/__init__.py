"""Results in the formats of other tools: published activation data sets, GLUScope sites, Neuronpedia, tables."""
