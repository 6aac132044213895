"""GLUScope: what the gated neurons of a language model respond to."""

__version__ = "0.1.0"
