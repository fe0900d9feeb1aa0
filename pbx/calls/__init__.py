"""Call control without I/O: legs, bridges, routing, registration. ``pbx.signal`` is its shell."""
