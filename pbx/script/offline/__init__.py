"""Programs without a network: simulated callers, a virtual clock, a transcript of what happened."""

from pbx.script.offline.run import OfflineRun
from pbx.script.offline.scenario import Scenario, load_scenario
from pbx.script.offline.transcript import Entry, Transcript

__all__ = ["Entry", "OfflineRun", "Scenario", "Transcript", "load_scenario"]
