"""Mail protocols: SMTP, IMAP and their kin (cores without I/O; nothing of it is built yet).

The package stands beside ``sip`` and ``media`` and imports neither of them, nor ``pbx``.
"""
