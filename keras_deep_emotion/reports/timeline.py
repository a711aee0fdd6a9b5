"""The emotions of the people in a video over time, as small panels."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from keras_deep_emotion.files import printable_path
from keras_deep_emotion.reports.figures.canvas import TITLE, save_figure

PEOPLE = 6  # ours: curves in a panel
KEPT = 60  # ours: people whose curves are kept until the end
BINS = 200  # ours: points of a curve at most; of more, six in a panel are a tangle
FIRST_BIN = 0.02  # seconds; shorter than a frame
# Color-blind safe (Okabe & Ito, 2008), one a person.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
COLUMNS = 4
GAP = 0.5  # ours, seconds: a curve breaks where a person is not seen longer,
SKIPPED = 1.5  # and for more than one frame
SPARSE = 60  # points; fewer are marked
LONG = 300  # seconds; the times of longer videos are in minutes


class Timeline:
    """Collects the results of a video's frames; its memory does not grow with the video.

    A curve has at most `BINS` points, the means of as many equal times, which become longer as the
    video does. Of more than `KEPT` people, those seen shortest are forgotten.

    Args:
        labels: Class names.
    """

    def __init__(self, labels: Sequence[str]):
        self.labels = labels
        self.width = FIRST_BIN  # of a bin, seconds
        self.people = 0
        self._sums: dict[int, dict[int, np.ndarray]] = {}  # person, bin: sums, and their count
        self._before: float | None = None  # time of the last frame
        self._apart = 0.0  # longest time between two frames, seconds

    def add(self, result: Any) -> None:
        """Add an `ImageResult` of a frame, with `tracks`."""
        if self._before is not None:
            self._apart = max(self._apart, result.seconds - self._before)
        self._before = result.seconds
        place = int(result.seconds / self.width)
        while place >= BINS:
            self.width *= 2
            place //= 2
            self._sums = {person: _halve(bins) for person, bins in self._sums.items()}
        for person, row in zip(result.tracks, result.probabilities, strict=True):
            self.people = max(self.people, person)
            bins = self._sums.setdefault(person, {})
            bins[place] = bins.get(place, 0) + np.array([*row, 1.0])
        if len(self._sums) > 2 * KEPT:
            seen_now = {*result.tracks}
            order = sorted(self._sums, key=lambda one: (one in seen_now, self._frames(one)))
            for person in order[:-KEPT]:
                del self._sums[person]

    def _frames(self, person):
        return sum(bins[-1] for bins in self._sums[person].values())

    def curve(self, person: int) -> tuple[np.ndarray, np.ndarray]:
        """Times in seconds, (points,), and mean probabilities, (points, classes), of a person.

        The probabilities are NaN at a time for which the person was not seen for long.
        """
        bins = self._sums[person]
        places = np.array(sorted(bins))
        rows = np.array([bins[place] for place in places])
        times, means = (places + 0.5) * self.width, rows[:, :-1] / rows[:, -1:]
        longest = max(GAP, SKIPPED * self._apart) + self.width
        gaps = np.flatnonzero(np.diff(times) > longest) + 1
        middles = (times[gaps - 1] + times[gaps]) / 2
        return np.insert(times, gaps, middles), np.insert(means, gaps, np.nan, axis=0)

    def draw(self, file: Path, path: str | Path) -> None:
        """Draw a panel for each emotion, in it a curve for each person, as PNG.

        `file` is the video. Of more than `PEOPLE`, those seen longest are drawn.
        """
        end = self._before + self.width  # of the last bin
        unit, name = (60, "minutes") if end > LONG else (1, "seconds")
        longest = sorted(self._sums, key=lambda person: (-self._frames(person), person))
        drawn = sorted(longest[:PEOPLE])
        rows = -(-len(self.labels) // COLUMNS)
        figure = Figure(figsize=(11, 2.1 * rows + 0.9), layout="constrained")
        panels = figure.subplots(rows, COLUMNS, sharex=True, sharey=True, squeeze=False).flat
        for i, (axes, label) in enumerate(zip(panels, self.labels, strict=False)):
            for person in drawn:
                times, probabilities = self.curve(person)
                style = {"color": COLORS[drawn.index(person)], "lw": 1.5}
                if len(times) < SPARSE:
                    style |= {"marker": ".", "ms": 4}
                axes.plot(times / unit, probabilities[:, i], label=f"person {person}", **style)
                alone = _alone(probabilities[:, i])
                axes.plot(times[alone] / unit, probabilities[alone, i], ".", color=style["color"])
            axes.set_title(label, loc="left", fontsize=10)
            axes.grid(alpha=0.25)
        last = panels[len(self.labels) - 1]
        last.set(ylim=(-0.03, 1.03), xlim=(-0.02 * end / unit, 1.02 * end / unit))
        last.yaxis.set_major_formatter(PercentFormatter(1))
        for axes in panels[len(self.labels) :]:
            axes.set_axis_off()
        for axes in panels[: len(self.labels)]:
            axes.tick_params(labelbottom=True)
        figure.supxlabel(f"time, {name}", fontsize=10)
        if len(drawn) > 1:
            handles, names = last.get_legend_handles_labels()
            spare = panels[-1] if len(self.labels) % COLUMNS else figure
            spare.legend(handles, names, loc="center left", frameon=False)
        shown = f"{self.people} people" if self.people > 1 else "one person"
        if self.people > len(drawn):
            shown = f"the {len(drawn)} people seen longest, of {self.people}"
        title = f"{printable_path(file.name)}: {shown}"
        figure.suptitle(title, x=0.01, ha="left", parse_math=False, fontsize=TITLE["fontsize"])
        save_figure(figure, path)


def _alone(values):
    """Which values have NaN or an end on both sides, so that no line leads to them."""
    missing = np.isnan(np.concatenate([[np.nan], values, [np.nan]]))
    return ~missing[1:-1] & missing[:-2] & missing[2:]


def _halve(bins):
    """Bins of twice the width."""
    halved: dict[int, np.ndarray] = {}
    for place, sums in bins.items():
        halved[place // 2] = halved.get(place // 2, 0) + sums
    return halved
