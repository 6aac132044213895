"""Two runs over the same tokens, compared: another number format, another checkpoint, another model of equal size."""
