"""The signal role: SIP and call control in one process, on asyncio."""
