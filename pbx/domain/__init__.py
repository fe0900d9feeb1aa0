"""The aggregates: events, decisions and folds. Pure; importing the package declares every type."""
