"""The whole PBX and many phones in one thread under a virtual clock; see ``docs/testing.md``."""
