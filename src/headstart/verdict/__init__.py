"""Pure functions from quantities to a decision and its reasons."""
