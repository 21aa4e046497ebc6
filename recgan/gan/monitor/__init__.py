"""How a run is watched while it trains: looks at what the generator makes, alarms, and what the run shows of itself."""

from recgan.gan.monitor.alarms import RULES, Alarm, Alarms, divergence
from recgan.gan.monitor.quality import FEWEST, Look, Quality
from recgan.gan.monitor.records import Monitor, read_lines

__all__ = ["FEWEST", "RULES", "Alarm", "Alarms", "Look", "Monitor", "Quality", "divergence", "read_lines"]
