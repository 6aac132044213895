"""The replay: a second forward pass that keeps what chosen neurons' pages show; its file, writer and reader."""
