"""What a user may write in the config, and the typed objects the workflow gets from it. Imports nothing heavy."""
