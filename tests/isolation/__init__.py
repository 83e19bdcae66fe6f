"""Who can reach what: the matrix notices every hole, and attacks find none."""
