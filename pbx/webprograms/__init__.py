"""Web programs: ``/sys/NAME.wcgp`` runs a CG/PL program of the server-wide environment.

``docs/web-programs.md`` says what such a program may do and what holds it in. The parts:
:mod:`~pbx.webprograms.exchange` a request and the response as a program sees them,
:mod:`~pbx.webprograms.running` one run, :mod:`~pbx.webprograms.commands` what it may start,
:mod:`~pbx.webprograms.limits` how often, :mod:`~pbx.webprograms.routes` the HTTP side.
"""
