"""What a neuron does, measured: the model as it is beside the model with the neuron's post set to zero."""
