"""Voice applications: where calls, their sound and CG/PL programs meet."""
