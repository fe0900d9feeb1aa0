"""Webhooks: events posted to URLs of others, signed, in order, at least once.

The queue is the log itself, from each webhook's position on, which ``store`` keeps; ``progress``
decides, ``poster`` talks HTTP, ``worker`` drives them within the project role. ``commands`` is what
administrators order. Conventions: Standard Webhooks (specification 1.0.0).
"""
