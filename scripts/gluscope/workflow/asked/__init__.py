"""What the rules ask of the config, a layer of questions a file: runs, inputs, neurons, pages, effects."""
