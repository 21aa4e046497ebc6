"""Cloth of the drawn catalogue: each pattern is a function from cloth coordinates to colours."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from recgan.dataset.boutique.canvas import Fabric
from recgan.dataset.boutique.colours import ACCENTS, companion, rgb, shaded, varied

__all__ = ["PATTERNS", "make_fabric", "ribs"]

Maker = Callable[[np.random.Generator, str, np.ndarray], Fabric]


def make_fabric(rng: np.random.Generator, pattern: str, name: str, colour: np.ndarray) -> Fabric:
    """Return the cloth of a pattern (a key of `PATTERNS`) in the colour called ``name``, float32 [3]."""
    return PATTERNS[pattern](rng, name, colour)


def ribs(colour: np.ndarray, period: float = 0.022, depth: float = 0.12) -> Fabric:
    """Return ribbed knit of one colour [3]: a rib every ``period``, ``depth`` lighter and darker."""
    return lambda u, v: _lit(colour, depth * np.sin(2 * np.pi * u / period))


def _planes(colour: np.ndarray) -> np.ndarray:
    """Return one colour [3] as planes [3, 1, 1]; planes stay as they are."""
    return colour[:, None, None] if colour.ndim == 1 else colour


def _mixed(weight: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return ``one`` where ``weight`` [n, m] is 0 and ``other`` where it is 1, as planes [3, n, m]; both may be one
    colour [3] or planes."""
    one = _planes(one)
    return one + weight * (_planes(other) - one)


def _lit(colour: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Return one colour [3], lighter where ``light`` [n, m] > 0 and darker where < 0, as planes [3, n, m]."""
    return _planes(colour) * (1 + light)


def _soft(signed: np.ndarray, width: float = 0.003) -> np.ndarray:
    """Return 1 where ``signed`` > 0 and 0 where it is < 0, with an edge ``2 width`` wide (antialiasing)."""
    return np.clip(signed / (2 * width) + 0.5, 0, 1)


def _bands(t: np.ndarray, period: float, share: float) -> np.ndarray:
    """Return 1 on bands that take ``share`` of each period of ``t``."""
    distance = np.abs(t - period * np.round(t / period))
    return _soft(share * period / 2 - distance)


def _plain(rng: np.random.Generator, name: str, colour: np.ndarray) -> Fabric:
    return lambda u, v: _planes(colour)


def _melange(rng: np.random.Generator, name: str, colour: np.ndarray) -> Fabric:
    phases = rng.uniform(0, 2 * np.pi, 3)

    def fabric(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        yarn = np.sin(431 * u + 57 * v + phases[0]) + np.sin(283 * v - 91 * u + phases[1]) + np.sin(700 * u + phases[2])
        return _lit(colour, 0.035 * yarn) + np.float32(0.02)

    return fabric


def _ribbed(rng: np.random.Generator, name: str, colour: np.ndarray) -> Fabric:
    return ribs(colour, rng.uniform(0.026, 0.04), 0.10)


def _cable(rng: np.random.Generator, name: str, colour: np.ndarray) -> Fabric:
    spacing, twist = rng.uniform(0.11, 0.15), rng.uniform(0.055, 0.075)

    def fabric(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        across = u / spacing - np.round(u / spacing)
        rope = np.exp(-((across / 0.2) ** 2))
        strands = np.sin(2 * np.pi * (v / twist + np.abs(across) * 2.2))
        ribs = 0.05 * np.sin(2 * np.pi * u / 0.028) * (1 - rope)
        return _lit(colour, 0.17 * rope * strands - 0.10 * np.exp(-(((np.abs(across) - 0.3) / 0.06) ** 2)) + ribs)

    return fabric


def _stripes(rng: np.random.Generator, name: str, colour: np.ndarray) -> Fabric:
    _, other = companion(rng, name)
    period, share = rng.uniform(0.055, 0.14), rng.uniform(0.3, 0.55)
    return lambda u, v: _mixed(_bands(v, period, share), colour, other)


def _varied_stripes(rng: np.random.Generator, name: str, colour: np.ndarray) -> Fabric:
    second, other = companion(rng, name)
    _, third = companion(rng, second)
    period = rng.uniform(0.16, 0.26)

    def fabric(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        cloth = _mixed(_bands(v, period, 0.36), colour, other)
        return _mixed(_bands(v + period / 2, period, 0.14), cloth, third)

    return fabric


def _pinstripes(rng: np.random.Generator, name: str, colour: np.ndarray) -> Fabric:
    bright = float(colour.mean())
    other = shaded(colour, 1.75) if bright < 0.55 else shaded(colour, 0.55)
    period, share = rng.uniform(0.05, 0.085), rng.uniform(0.18, 0.4)
    return lambda u, v: _mixed(0.85 * _bands(u, period, share), colour, other)


def _diagonal(rng: np.random.Generator, name: str, colour: np.ndarray) -> Fabric:
    _, other = companion(rng, name)
    period, lean = rng.uniform(0.09, 0.15), rng.choice([-1.0, 1.0])
    return lambda u, v: _mixed(_bands(u * lean + v, period, 0.4), colour, other)


def _gingham(rng: np.random.Generator, name: str, colour: np.ndarray) -> Fabric:
    other = rgb("white") if name != "white" else companion(rng, name)[1]
    period = rng.uniform(0.055, 0.10)
    return lambda u, v: _mixed((_bands(u, period, 0.5) + _bands(v, period, 0.5)) / 2, colour, other)


def _tartan(rng: np.random.Generator, name: str, colour: np.ndarray) -> Fabric:
    _, other = companion(rng, name)
    accent = varied(rng, rgb(ACCENTS[rng.integers(len(ACCENTS))]))
    period = rng.uniform(0.15, 0.23)

    def fabric(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        broad = 0.5 * (_bands(u, period, 0.42) + _bands(v, period, 0.42))
        cloth = _mixed(broad, colour, other)
        lines = np.maximum(_bands(u + period / 2, period, 0.09), _bands(v + period / 2, period, 0.09))
        return _mixed(0.8 * lines, cloth, accent)

    return fabric


def _windowpane(rng: np.random.Generator, name: str, colour: np.ndarray) -> Fabric:
    _, other = companion(rng, name)
    period = rng.uniform(0.10, 0.16)
    return lambda u, v: _mixed(0.8 * np.maximum(_bands(u, period, 0.1), _bands(v, period, 0.1)), colour, other)


def _dots(rng: np.random.Generator, name: str, colour: np.ndarray) -> Fabric:
    _, other = companion(rng, name)
    period = rng.uniform(0.065, 0.12)
    radius = period * rng.uniform(0.22, 0.32)

    def fabric(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        row = np.round(v / period)
        across = u / period + 0.5 * (row % 2)
        distance = np.hypot(across - np.round(across), v / period - row) * period
        return _mixed(_soft(radius - distance), colour, other)

    return fabric


def _argyle(rng: np.random.Generator, name: str, colour: np.ndarray) -> Fabric:
    _, other = companion(rng, name)
    line = shaded(other, 0.7) if other.mean() > 0.5 else shaded(other, 1.5)
    wide = rng.uniform(0.15, 0.2)

    def fabric(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        p, q = u / wide + v / (1.5 * wide), u / wide - v / (1.5 * wide)
        diamonds = ((np.floor(p) + np.floor(q)) % 2).astype(np.float32)
        cloth = _mixed(diamonds * ((np.floor(p) % 2) == 0), colour, other)
        return _mixed(0.7 * np.maximum(_bands(p + 0.5, 1.0, 0.06), _bands(q + 0.5, 1.0, 0.06)), cloth, line)

    return fabric


def _scattered(rng: np.random.Generator, cell: float) -> Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, ...]]:
    """Return a function that gives each point's offset from the motif of its (jittered, staggered) cell, that motif's
    turn and a number in [0, 1) of its own."""
    jitter = rng.uniform(-0.2, 0.2, (2, 16, 16)).astype(np.float32)
    turn = rng.uniform(0, 2 * np.pi, (16, 16)).astype(np.float32)
    lot = rng.random((16, 16)).astype(np.float32)

    def place(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, ...]:
        row = np.round(v / cell)
        stagger = 0.5 * (row % 2)
        column = np.round(u / cell + stagger)
        i, j = row.astype(np.int64) % 16, column.astype(np.int64) % 16
        dx = (u / cell + stagger - column - jitter[0, i, j]) * cell
        dy = (v / cell - row - jitter[1, i, j]) * cell
        return dx, dy, turn[i, j], lot[i, j]

    return place


def _floral(rng: np.random.Generator, name: str, colour: np.ndarray) -> Fabric:
    second, petal = companion(rng, name)
    _, petal_two = companion(rng, name)
    leaf = varied(rng, rgb("forest" if colour.mean() > 0.45 else "sage"))
    heart = rgb("mustard") if second not in ("mustard", "lemon") else rgb("burgundy")
    cell = rng.uniform(0.10, 0.17)
    petals = int(rng.integers(4, 7))
    flowers, leaves = _scattered(rng, cell), _scattered(rng, cell)

    def fabric(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        dx, dy, turn, _ = leaves(u + cell / 2, v + cell / 2)
        along, across = dx * np.cos(turn) + dy * np.sin(turn), dy * np.cos(turn) - dx * np.sin(turn)
        cloth = _mixed(_soft(1 - np.hypot(along / (0.30 * cell), across / (0.11 * cell)), 0.06), colour, leaf)
        dx, dy, turn, lot = flowers(u, v)
        radius, angle = np.hypot(dx, dy), np.arctan2(dy, dx) + turn
        reach = cell * (0.24 + 0.10 * np.cos(petals * angle)) * (0.8 + 0.4 * lot)
        tone = _mixed((lot > 0.6).astype(np.float32), petal, petal_two)
        cloth = _mixed(_soft(reach - radius), cloth, tone)
        return _mixed(_soft(0.085 * cell - radius), cloth, heart)

    return fabric


def _sprigs(rng: np.random.Generator, name: str, colour: np.ndarray) -> Fabric:
    _, other = companion(rng, name)
    cell = rng.uniform(0.07, 0.1)
    place = _scattered(rng, cell)

    def fabric(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        dx, dy, turn, _ = place(u, v)
        radius, angle = np.hypot(dx, dy), np.arctan2(dy, dx) + turn
        return _mixed(_soft(cell * (0.2 + 0.12 * np.cos(3 * angle)) - radius), colour, other)

    return fabric


def _leopard(rng: np.random.Generator, name: str, colour: np.ndarray) -> Fabric:
    ground = varied(rng, rgb("camel" if name in ("camel", "tan", "brown", "sand", "espresso") else name))
    dark = shaded(ground, 0.25) if ground.mean() > 0.3 else shaded(ground, 1.5)
    cell = rng.uniform(0.07, 0.10)
    place = _scattered(rng, cell)

    def fabric(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        dx, dy, turn, lot = place(u, v)
        radius = np.hypot(dx, dy * (0.8 + 0.5 * lot)) / cell
        gap = np.cos(np.arctan2(dy, dx) * 2 + turn)
        ring = _soft(0.10 - np.abs(radius - 0.30), 0.02) * _soft(gap + 0.75, 0.1)
        return _mixed(ring, _mixed(_soft(0.25 - radius, 0.03) * 0.35, ground, dark), dark)

    return fabric


def _camouflage(rng: np.random.Generator, name: str, colour: np.ndarray) -> Fabric:
    tones = [colour, shaded(colour, 0.62), shaded(colour, 1.35), shaded(colour, 0.38)]
    waves = rng.normal(0, 1, (2, 5, 2)) * 26
    phases = rng.uniform(0, 2 * np.pi, (2, 5))

    def fabric(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        one, two = (
            sum(np.sin(a * u + b * v + p + np.sin(9 * v + p)) for (a, b), p in zip(wave, phase))
            for wave, phase in zip(waves, phases)
        )
        cloth = _mixed(_soft(one - 0.5, 0.12), tones[0], tones[1])
        cloth = _mixed(_soft(two - 0.9, 0.12), cloth, tones[2])
        return _mixed(_soft(-one - two - 2.6, 0.12), cloth, tones[3])

    return fabric


def _colour_block(rng: np.random.Generator, name: str, colour: np.ndarray) -> Fabric:
    second, other = companion(rng, name)
    _, third = companion(rng, second)
    height, lean = rng.uniform(-0.08, 0.1), rng.choice([0.0, 0.0, 0.35])
    band = rng.uniform(0.05, 0.12) if rng.random() < 0.5 else 0.0

    def fabric(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        level = v + lean * u - height
        cloth = _mixed(_soft(level), colour, other)
        return _mixed(_soft(level) * _soft(band - level), cloth, third) if band else cloth

    return fabric


def _ombre(rng: np.random.Generator, name: str, colour: np.ndarray) -> Fabric:
    _, other = companion(rng, name)
    return lambda u, v: _mixed(1 / (1 + np.exp(-9 * v)), colour, other)


def _denim(rng: np.random.Generator, name: str, colour: np.ndarray) -> Fabric:
    wash = rng.uniform(0.0, 0.28)
    phase = rng.uniform(0, 6)

    def fabric(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        twill = 0.03 * np.sin(520 * (u + v) + phase) + 0.03 * np.sin(610 * u)
        worn = wash * np.exp(-(((np.abs(u) - 0.12) / 0.07) ** 2) - ((v + 0.05) / 0.28) ** 2)
        return _mixed(worn, _lit(colour, twill), np.ones(3, dtype=np.float32))

    return fabric


PATTERNS: dict[str, Maker] = {
    "plain": _plain,
    "melange": _melange,
    "ribbed": _ribbed,
    "cable": _cable,
    "striped": _stripes,
    "multi-stripe": _varied_stripes,
    "pinstripe": _pinstripes,
    "diagonal": _diagonal,
    "gingham": _gingham,
    "tartan": _tartan,
    "windowpane": _windowpane,
    "dotted": _dots,
    "argyle": _argyle,
    "floral": _floral,
    "sprigged": _sprigs,
    "leopard": _leopard,
    "camouflage": _camouflage,
    "colour-block": _colour_block,
    "ombre": _ombre,
    "denim": _denim,
}
"""Name to maker of the cloth."""
