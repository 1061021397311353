"""Pure functions from records to quantities: statistics, curves, costs, mistakes, arms."""
