"""CG/PL: compile a program, run it until it asks for something, answer, go on."""
