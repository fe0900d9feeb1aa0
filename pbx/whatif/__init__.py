"""What if the configuration were another one: recorded calls, tried with it before it is made.

``tables`` is about the Router table alone: which calls it would route otherwise. ``rules`` is about
Signal Rules, with or without another table: which calls would go otherwise, as far as the log can
tell. ``recorded`` reads calls as ``rules`` needs them.
"""

from pbx.whatif.tables import (
    Decision,
    Difference,
    Outlook,
    configured,
    outlook,
    past_calls,
)

__all__ = ["Decision", "Difference", "Outlook", "configured", "outlook", "past_calls"]
