"""The command line: one module per command; ``main`` reads the arguments and calls them."""
