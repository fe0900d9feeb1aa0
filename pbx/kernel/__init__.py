"""What everything in ``pbx`` stands on: clock, ids, errors, event declarations. Imports nothing."""
