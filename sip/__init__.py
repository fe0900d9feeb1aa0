"""Ringlog's SIP stack: values, transactions, dialogs, and an engine without I/O.

Read in this order: ``errors``, ``grammar``, ``uri``, ``headers``, ``message``, ``validation``,
``parser``, then ``transaction``, ``dialog``, ``engine``. Only ``sip.endpoint`` touches asyncio.
"""
