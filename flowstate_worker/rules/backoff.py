"""How long to wait: before an execution's next attempt, and between a loop's tries."""

from dataclasses import dataclass, field
from random import Random


@dataclass(frozen=True, slots=True)
class Steps:
    """One figure for each attempt, the last one for all that follow; jittered down to half."""

    seconds: tuple[float, ...]

    def after(self, attempt: int, rng: Random) -> float:
        """Seconds to wait after the `attempt`-th try (from 1)."""
        step = self.seconds[min(max(attempt, 1), len(self.seconds)) - 1]
        return step * rng.uniform(0.5, 1.0)


@dataclass(frozen=True, slots=True)
class Spread:
    """Anywhere between two figures; the upper one doubles from the lower with every attempt until
    it is reached.
    """

    low: float
    high: float

    def after(self, attempt: int, rng: Random) -> float:
        """Seconds to wait after the `attempt`-th try (from 1)."""
        return rng.uniform(self.low, min(self.high, self.low * 2.0 ** min(max(attempt, 1), 30)))


Delay = Steps | Spread


@dataclass(slots=True)
class Exponential:
    """A loop's pause: doubles from `low` to `high` seconds until `reset`, each drawn from its upper
    half.

    The jitter keeps workers apart that were all stopped by the same outage.
    """

    low: float
    high: float
    rng: Random
    _next: float = field(init=False)

    def __post_init__(self) -> None:
        self._next = self.low

    def pause(self) -> float:
        """The next pause, in seconds."""
        pause = self._next * self.rng.uniform(0.5, 1.0)
        self._next = min(self._next * 2.0, self.high)
        return pause

    def reset(self) -> None:
        self._next = self.low
