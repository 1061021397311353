"""Is the advice any good? A grid of finished studies, replayed for every way of choosing."""
