"""Speed marks: headstart beside its peers and the machine's limits, in one run."""
