"""Mail: messages, mailbox names, flags and the rules of a mailbox; cores without I/O.

The package stands beside ``sip`` and ``media`` and imports neither of them, nor ``pbx``. SMTP and
IMAP will stand on it. The wire format is the business of the standard library's ``email`` package;
here are the bounds around it.
"""
