"""The HTTP side of the server: event feeds, schemas, and the routes of the administration.

``app`` puts it together, ``auth`` lets nobody in without a token, ``server`` and ``connections``
are the shell over uvicorn. Nothing here is imported by another role.
"""
