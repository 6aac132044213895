"""What scans, merges and pages cost, measured: `make bench` writes docs/performance.md."""
