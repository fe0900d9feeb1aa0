"""The external program that is asked about unknown names and about passwords.

Each role that asks runs one of its own: call control on its event loop (:mod:`.program`), roles
whose work is done on threads through :mod:`.blocking`. The lines are those of :mod:`.protocol`.
"""
