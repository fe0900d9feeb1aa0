"""Fake phones: an independent SIP user agent that judges our stack (see :mod:`.phone`)."""

from tests.support.fake_phone.call import PhoneCall
from tests.support.fake_phone.phone import FakePhone, Surroundings, Violation

__all__ = ["FakePhone", "PhoneCall", "Surroundings", "Violation"]
