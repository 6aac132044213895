"""The embedded demo: text that every Python has, and the small model that was trained on it."""
