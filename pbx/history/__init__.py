"""History of the configuration: log, state at any time, differences, blame, revert.

``docs/history.md`` is for administrators. :mod:`~pbx.history.view` lays any stream out flat,
:mod:`~pbx.history.changes` reads, :mod:`~pbx.history.revert` writes.
"""
