"""The OpenMetrics text format: families of samples, each declared once, and an end that tells a whole answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

Labels = Mapping[str, str]


class Exposition:
    """Builds one answer. The samples of a family have to be added before those of the next."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def family(self, name: str, kind: str, help: str, *, unit: str = "") -> None:
        """Begin a family. A `name` with a unit has to end with it."""
        self._lines += [f"# TYPE {name} {kind}", f"# HELP {name} {_escaped(help)}"]
        if unit:
            self._lines.insert(-1, f"# UNIT {name} {unit}")

    def sample(self, name: str, value: float, labels: Labels | None = None) -> None:
        pairs = ",".join(f'{label}="{_escaped(text)}"' for label, text in (labels or {}).items())
        self._lines.append(f"{name}{{{pairs}}} {value:.15g}" if pairs else f"{name} {value:.15g}")

    def counter(self, name: str, value: float, *, created: float, labels: Labels | None = None) -> None:
        self.sample(f"{name}_total", value, labels)
        self.sample(f"{name}_created", created, labels)

    def histogram(
        self, name: str, bounds: Sequence[float], counts: Sequence[int], *, total: float, created: float, labels: Labels
    ) -> None:
        """`counts` has one number more than `bounds`: of what is beyond the last; `total` is the sum of the values."""
        seen = 0
        for bound, count in zip([*map(float, bounds), float("inf")], counts, strict=True):
            seen += count
            text = "+Inf" if bound == float("inf") else str(bound)
            self.sample(f"{name}_bucket", seen, {**labels, "le": text})
        self.sample(f"{name}_count", seen, labels)
        self.sample(f"{name}_sum", total, labels)
        self.sample(f"{name}_created", created, labels)

    def text(self) -> str:
        return "\n".join([*self._lines, "# EOF\n"])


def _escaped(text: str) -> str:
    """What a quoted text may hold: any character of UTF-8 but for these three."""
    whole = text.encode(errors="replace").decode()
    return whole.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
