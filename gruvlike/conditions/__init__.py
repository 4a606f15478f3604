"""Things besides the last frame that a stack reads: its place in the bar, and frames of its own past.

Each condition is a layer with an input of the stack of its own. `recurrent_stack` makes the inputs; a
stack of the user's own does so by `condition(condition.input(width))`. `AudioModel` finds the conditions among the
layers of its stack: in training it gives each window the numbers that belong to it, in a song `Generator` does.
"""

from gruvlike.conditions._clock import Clock
from gruvlike.conditions._condition import Condition, OwnPast, Schedule, conditions_of
from gruvlike.conditions._lags import Anchor, Lags
from gruvlike.conditions._meter import Meter
from gruvlike.conditions._supply import Supply

__all__ = ["Anchor", "Clock", "Condition", "Lags", "Meter", "OwnPast", "Schedule", "Supply", "conditions_of"]
