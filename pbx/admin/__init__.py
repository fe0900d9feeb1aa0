"""The network command protocol for administrators: the language, its commands, its transports.

::

    session.py   one connection, sans-I/O: lines in, jobs out, replies back
    http.py      one command a request, for whatever HTTP server mounts it
        │ jobs
    service.py   carries jobs out, one at a time: logins and command lines
        │
    dispatch.py  command line -> row of table.py -> rights -> handler -> reply
    handlers/    what the commands do, over pbx.commands and pbx.settings_changes

``server.py`` and ``role.py`` are the asyncio shell: the role ``admin``. ``docs/cli.md`` is for
users.
"""
