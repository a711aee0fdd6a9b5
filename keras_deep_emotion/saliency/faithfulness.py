"""Faithfulness of saliency maps: deletion, insertion, the pointing game, randomized weights.

Each score is compared with that of baseline maps that do not depend on the model. NumPy only.

Sources: deletion and insertion, Petsiuk et al., "RISE" (2018); pointing game, Zhang et al.,
"Top-down neural attention by excitation backprop" (2016); randomized weights, Adebayo et al.,
"Sanity checks for saliency maps" (2018).
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import stats

STEPS = 48  # ours: of the curves; RISE takes as many as the image has rows
Predict = Callable[[np.ndarray], np.ndarray]


def causal_curve(predict: Predict, start, end, maps, class_id, steps: int = STEPS) -> np.ndarray:
    """Probability of a class while pixels change from `start` to `end`, the most important first.

    Returns (batch, steps + 1) float64; other arguments are as in `score_faithfulness`.
    """
    batch, height, width = maps.shape
    order = np.argsort(-maps.reshape(batch, -1), axis=1, kind="stable")
    rank = np.argsort(order, axis=1, kind="stable").reshape(maps.shape)[..., None]
    counts = np.linspace(0, height * width, steps + 1).astype(int)
    rows = np.arange(batch)
    curve = [predict(np.where(rank < count, end, start))[rows, class_id] for count in counts]
    return np.stack(curve, axis=1).astype(np.float64)


def area_under_curve(curve: np.ndarray) -> np.ndarray:
    """Area under (batch, points) curves of equal steps, by trapezoids: (batch,)."""
    return (curve[:, :-1] + curve[:, 1:]).mean(axis=1) / 2


def pointing_game(maps: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Whether the maximum of each (batch, height, width) map lies in a part of its image: (batch,).

    Parts are (batch, parts, 4) boxes: ymin, xmin, ymax, xmax, relative to the image. Occlusion maps
    are flat where the same windows cover pixels: of equal maxima, the nearest to their mean counts.
    """
    hits = []
    for one, boxes in zip(maps, np.asarray(parts), strict=True):
        maxima = np.argwhere(one == one.max())
        distances = ((maxima - maxima.mean(axis=0)) ** 2).sum(axis=1)
        y, x = (maxima[distances.argmin()] + 0.5) / one.shape  # center of the pixel
        hits.append(any(box[0] <= y <= box[2] and box[1] <= x <= box[3] for box in boxes))
    return np.array(hits)


def baseline_maps(count: int, size: int, window: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Maps that do not depend on any model: (count, size, size) float64, by name.

    `random` has independent pixels; `random, smooth` averages over the window, as coarse as
    occlusion maps; `gaussian` is centered, with a standard deviation of a quarter of the side.
    """
    random = np.random.default_rng(seed)
    noise = random.random((count, size, size))
    padding = ((0, 0), (window, window), (window, window))
    padded = np.pad(random.random((count, size, size)), padding, "wrap")
    sums = padded.cumsum(axis=1).cumsum(axis=2)
    low, high = slice(0, size), slice(window, window + size)
    smooth = sums[:, high, high] - sums[:, low, high] - sums[:, high, low] + sums[:, low, low]
    side = (np.arange(size) - (size - 1) / 2) / (size / 4)
    gaussian = np.exp(-(side[:, None] ** 2 + side**2) / 2)
    return {
        "random": noise,
        "random, smooth": smooth / window**2,
        "gaussian": np.repeat(gaussian[None], count, axis=0),
    }


def bootstrap_mean(
    values: Sequence[float], confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """`mean` of values and its percentile bootstrap `interval`, [low, high]."""
    values = np.asarray(values, np.float64)
    indices = np.random.default_rng(seed).integers(0, len(values), (resamples, len(values)))
    tail = (1 - confidence) / 2
    interval = np.quantile(values[indices].mean(axis=1), [tail, 1 - tail])
    return {"mean": float(values.mean()), "interval": interval.tolist()}


def compare_with_baselines(scores: dict[str, Sequence[float]], lower_is_better: bool) -> dict:
    """The `bootstrap_mean` of (faces,) scores, by name of the maps.

    Baselines also have `ahead`, that of the difference by which "saliency" is better on each face.
    """
    ours = np.asarray(scores["saliency"], np.float64)
    sign = 1 if lower_is_better else -1
    result = {name: bootstrap_mean(values) for name, values in scores.items()}
    for name in scores.keys() - {"saliency"}:
        difference = np.asarray(scores[name], np.float64) - ours
        result[name]["ahead"] = bootstrap_mean(sign * difference)
    return result


def score_faithfulness(
    predict: Predict,
    images: np.ndarray,
    blurred: np.ndarray,
    maps: np.ndarray,
    class_id: np.ndarray,
    window: int,
    parts: np.ndarray | None = None,
    seed: int = 0,
) -> dict[str, dict[str, dict]]:
    """Score saliency maps and baselines by deletion, insertion and the pointing game.

    Args:
        predict: Maps (n, size, size, channels) float32 arrays to (n, classes) probabilities.
        images: (batch, size, size, channels) float32 grey levels 0..255. Deletion ends in black,
            as the paper's windows.
        blurred: Blurred images, with which insertion begins, as in RISE.
        maps: (batch, size, size) saliency maps.
        class_id: (batch,) integers, the explained class.
        window: Side of the hidden square of the maps, pixels.
        parts: Boxes for `pointing_game`; None to leave it out.
        seed: Seed of the random baselines.

    Returns:
        `deletion` (area, lower is better), `insertion` (area, higher is better) and `pointing`
        (share of hits), each as from `compare_with_baselines`.
    """
    count, size = maps.shape[:2]
    all_maps = {"saliency": maps, **baseline_maps(count, size, window, seed)}

    def areas(start, end):
        return {
            name: area_under_curve(causal_curve(predict, start, end, one, class_id))
            for name, one in all_maps.items()
        }

    deletion, insertion = areas(images, np.zeros_like(images)), areas(blurred, images)
    scores = {
        "deletion": compare_with_baselines(deletion, lower_is_better=True),
        "insertion": compare_with_baselines(insertion, lower_is_better=False),
    }
    if parts is not None:
        hits = {name: pointing_game(one, parts) for name, one in all_maps.items()}
        scores["pointing"] = compare_with_baselines(hits, lower_is_better=False)
    return scores


def shuffle_weights(weights: list[np.ndarray], seed: int = 0) -> list[np.ndarray]:
    """Shuffle the values within each array of weights."""
    random = np.random.default_rng(seed)
    return [random.permutation(one.ravel()).reshape(one.shape) for one in weights]


def rank_correlation(maps: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Spearman's correlation of (batch, height, width) maps: (batch,), 0 if a map is constant."""
    pairs = zip(maps.reshape(len(maps), -1), others.reshape(len(others), -1), strict=True)
    return np.array(
        [0.0 if np.ptp(a) == 0 or np.ptp(b) == 0 else stats.spearmanr(a, b)[0] for a, b in pairs]
    )


def mean_maps(maps: np.ndarray, class_id: np.ndarray, classes: Sequence[str]) -> dict[str, dict]:
    """The mean map of each class that occurs, and in which region of the face it lies.

    Each of the (batch, height, width) maps is divided by its sum; negative values count as 0, and
    maps without positive values are left out. `class_id` is (batch,) integers. Returns for each
    class name the number of `faces`; their mean `map`, (height, width); its shares in the `upper`,
    `middle` and `lower` third of the rows, and in the `rim`, the outer sixth on all sides.
    """
    _, height, width = maps.shape
    positive = np.maximum(maps, 0)
    sums = positive.sum(axis=(1, 2))
    rim = np.ones((height, width), bool)
    rim[height // 6 : height - height // 6, width // 6 : width - width // 6] = False
    result = {}
    for i, name in enumerate(classes):
        chosen = (np.asarray(class_id) == i) & (sums > 0)
        if not chosen.any():
            continue
        mean = (positive[chosen] / sums[chosen, None, None]).mean(axis=0)
        thirds = np.split(mean, [round(height / 3), round(2 * height / 3)])
        shares = zip(("upper", "middle", "lower", "rim"), (*thirds, mean[rim]), strict=True)
        result[name] = {"faces": int(chosen.sum()), "map": mean}
        result[name] |= {region: float(values.sum()) for region, values in shares}
    return result
