"""Models: what one looks like, loading it, hooking its gated MLPs, reading single rows of its weights."""
