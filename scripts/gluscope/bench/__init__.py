"""What things cost, measured: `make bench` writes docs/performance.md. Nothing else in the library depends on it."""
