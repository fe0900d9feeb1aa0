"""The administration over HTTP: resources under ``/api/v1``, and the command protocol at ``/CLI/``.

===================  ===========================================================================
Module               Does
===================  ===========================================================================
``operations``       what an operation is; from a request to its handler and back
``shapes``           bodies and queries as structs: they check requests and make the document
``openapi``          the OpenAPI document of all operations
``changes``          a change as one append, guarded by the ETag it was based on
``access``           what a token may, as rights of the command layer
``backend``          the command service and the read model that handlers work with
``domains`` …        the handlers, by resource
``table``            all operations
``command_line``     ``/CLI/``
``page``             ``/api/``, for people
``role``             the web role with all that
===================  ===========================================================================

Handlers carry out commands of :mod:`pbx.admin`, the same that port 106 takes: no command has a
second implementation here. ``docs/api.md`` is for who uses it, ADR 15 has the reasons.
"""
