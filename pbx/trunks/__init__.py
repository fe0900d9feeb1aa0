"""Other telephone systems: registering with providers, calling through gateways.

records        what an account's RSIP records say
settings_book  PSTN settings of every level, effective for an account
registration   one registration as a machine: when to send, what an answer means (sans-I/O)
ownership      which node of a cluster registers a record
trunks         all of it on one signalling node: implements ``pbx.calls.ports.TrunkPort``
arrivals       calls that a provider sends to our contacts
gateways       calls through the gateways of the PSTN settings
"""
