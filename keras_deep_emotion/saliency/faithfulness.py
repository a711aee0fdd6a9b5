"""Is a map right? Deletion and insertion, the pointing game, and maps of scrambled weights.

A map is easy to like and hard to check. Each score stands beside those of maps that know nothing of
the model, on the same faces; NumPy only, whatever the model was made with.

Sources: deletion and insertion, Petsiuk et al., "RISE" (2018); pointing game, Zhang et al.,
"Top-down neural attention by excitation backprop" (2016); scrambled weights, Adebayo et al.,
"Sanity checks for saliency maps" (2018).
"""

import numpy as np
from scipy import stats

STEPS = 48  # ours: of the curves; RISE takes as many as the image has rows


def causal_curve(predict, start, end, maps, class_id, steps=STEPS):
    """Probability of a class while pixels change, the hottest first.

    Args:
        predict: maps (n, height, width, channels) float32 arrays to (n, classes) probabilities.
        start: (batch, height, width, channels) the images to start with.
        end: of the same shape, what each pixel becomes.
        maps: (batch, height, width) how much each pixel matters.
        class_id: (batch,) integers, the class whose probability is followed.
        steps: how many times pixels change, 1 or more, about as many each time.

    Returns:
        (batch, steps + 1) float64: probabilities from all of `start` to all of `end`.
    """
    batch, height, width = maps.shape
    order = np.argsort(-maps.reshape(batch, -1), axis=1, kind="stable")
    rank = np.argsort(order, axis=1, kind="stable").reshape(maps.shape)[..., None]
    counts = np.linspace(0, height * width, steps + 1).astype(int)
    rows = np.arange(batch)
    curve = [predict(np.where(rank < count, end, start))[rows, class_id] for count in counts]
    return np.stack(curve, axis=1).astype(np.float64)


def area_under_curve(curve):
    """Area under curves of equal steps, by trapezoids: (batch, points) to (batch,)."""
    return (curve[:, :-1] + curve[:, 1:]).mean(axis=1) / 2


def pointing_game(maps, parts):
    """Whether the hottest pixel of each map lies in one of the parts that matter.

    Args:
        maps: (batch, height, width).
        parts: (batch, parts, 4) boxes: ymin, xmin, ymax, xmax, shares of the image's sides.

    Returns:
        (batch,) bool. Of several hottest pixels, the one in the middle of them all is taken: an
        occlusion map is flat where windows cover the same pixels.
    """
    hits = []
    for one, boxes in zip(maps, np.asarray(parts), strict=True):
        hottest = np.argwhere(one == one.max())
        middle = hottest.mean(axis=0)
        place = hottest[((hottest - middle) ** 2).sum(axis=1).argmin()]
        y, x = (place + 0.5) / one.shape  # the pixel's centre
        hits.append(any(box[0] <= y <= box[2] and box[1] <= x <= box[3] for box in boxes))
    return np.array(hits)


def baseline_maps(count, size, window, seed=0):
    """Maps that know nothing of any model.

    Args:
        count: how many of each.
        size: side of the maps, pixels.
        window: side of the square by which the maps to compare with were made, pixels.
        seed: of the random ones.

    Returns:
        {name: (count, size, size) float64}: `random`, each pixel by itself; `random, smooth`, the
        same averaged over the window, as coarse as an occlusion map is; `gaussian`, a hill in the
        middle, whose standard deviation is a quarter of the side: faces stand in the middle.
    """
    random = np.random.default_rng(seed)
    noise = random.random((count, size, size))
    around = np.pad(
        random.random((count, size, size)), ((0, 0), (window, window), (window, window)), "wrap"
    )
    sums = around.cumsum(axis=1).cumsum(axis=2)
    low = slice(0, size)
    high = slice(window, window + size)
    smooth = sums[:, high, high] - sums[:, low, high] - sums[:, high, low] + sums[:, low, low]
    side = (np.arange(size) - (size - 1) / 2) / (size / 4)
    hill = np.exp(-(side[:, None] ** 2 + side**2) / 2)
    return {
        "random": noise,
        "random, smooth": smooth / window**2,
        "gaussian": np.repeat(hill[None], count, axis=0),
    }


def bootstrap_mean(values, confidence=0.95, resamples=2000, seed=0):
    """Mean over faces and its interval, by the percentiles of a bootstrap.

    Args:
        values: (faces,) numbers, one or more.
        confidence: of the interval, above 0 and below 1.
        resamples: how many.
        seed: of the resampling.

    Returns:
        dict of `mean` and `interval`, [low, high].
    """
    values = np.asarray(values, np.float64)
    chosen = np.random.default_rng(seed).integers(0, len(values), (resamples, len(values)))
    tail = (1 - confidence) / 2
    low, high = np.quantile(values[chosen].mean(axis=1), [tail, 1 - tail])
    return {"mean": float(values.mean()), "interval": [float(low), float(high)]}


def compare_with_baselines(scores, lower_is_better):
    """Set a map's scores beside those of the baselines on the same faces.

    Args:
        scores: {name: (faces,) numbers}, `saliency` first.
        lower_is_better: for what `ahead` means.

    Returns:
        {name: `mean` and `interval`}; of each but `saliency` also `ahead`, the mean and interval of
        how much `saliency` does better, face by face: above 0 where it does.
    """
    ours = np.asarray(scores["saliency"], np.float64)
    result = {}
    for name, values in scores.items():
        result[name] = bootstrap_mean(values)
        if name != "saliency":
            better = np.asarray(values, np.float64) - ours
            result[name]["ahead"] = bootstrap_mean(better if lower_is_better else -better)
    return result


def score_faithfulness(predict, images, blurred, maps, class_id, window, parts=None, seed=0):
    """Score maps and the baselines by deletion, insertion and, where parts are known, pointing.

    Args:
        predict: maps (n, size, size, channels) float32 arrays to (n, classes) probabilities.
        images: (batch, size, size, channels) float32 grey levels 0..255.
        blurred: of the same shape; insertion begins with it, as in RISE. Deletion ends in black, as
            the paper's windows.
        maps: (batch, size, size).
        class_id: (batch,) the class that the maps are of.
        window: by which they were made, pixels.
        parts: as `pointing_game` takes them, or None.
        seed: of the random maps.

    Returns:
        dict of `deletion` (the area: less is better), `insertion` (more is better), perhaps
        `pointing` (share of hits), each as from `compared`.
    """
    count, size = maps.shape[:2]
    all_maps = {"saliency": maps, **baseline_maps(count, size, window, seed)}
    black = np.zeros_like(images)

    def areas(start, end):
        return {
            name: area_under_curve(causal_curve(predict, start, end, one, class_id))
            for name, one in all_maps.items()
        }

    scores = {
        "deletion": compare_with_baselines(areas(images, black), lower_is_better=True),
        "insertion": compare_with_baselines(areas(blurred, images), lower_is_better=False),
    }
    if parts is not None:
        hits = {name: pointing_game(one, parts) for name, one in all_maps.items()}
        scores["pointing"] = compare_with_baselines(hits, lower_is_better=False)
    return scores


def shuffle_weights(weights, seed=0):
    """Weights of the same values in another order, each array by itself.

    Args:
        weights: list of arrays.
        seed: of the order.
    """
    random = np.random.default_rng(seed)
    return [random.permutation(one.ravel()).reshape(one.shape) for one in weights]


def rank_correlation(maps, others):
    """Rank correlation (Spearman) of maps, face by face: (batch, height, width) twice to (batch,).

    Of a map that is flat, which resembles nothing, it is 0.
    """
    pairs = zip(maps.reshape(len(maps), -1), others.reshape(len(others), -1), strict=True)
    return np.array(
        [0.0 if np.ptp(a) == 0 or np.ptp(b) == 0 else stats.spearmanr(a, b)[0] for a, b in pairs]
    )


def mean_maps(maps, class_id, classes):
    """What maps of each class have in common, and in which part of the face it lies.

    Args:
        maps: (batch, height, width), saliency; what is below 0 counts as 0.
        class_id: (batch,) integers, the class that each is of.
        classes: names of the classes.

    Returns:
        {name: dict}, of the classes that occur: `faces`, `map` (height, width), the mean of the
        maps, each divided by its sum, so that every face counts alike (a map that is nowhere above
        0 is left out); and what share of it lies in the `upper`, `middle` and `lower` third of the
        rows, and in the `rim`, the outer sixth on all sides.
    """
    _, height, width = maps.shape
    positive = np.maximum(maps, 0)
    sums = positive.sum(axis=(1, 2))
    inside = np.zeros((height, width), bool)
    inside[height // 6 : height - height // 6, width // 6 : width - width // 6] = True
    thirds = [round(height * i / 3) for i in range(4)]
    result = {}
    for i, name in enumerate(classes):
        chosen = (np.asarray(class_id) == i) & (sums > 0)
        if chosen.any():
            mean = (positive[chosen] / sums[chosen, None, None]).mean(axis=0)
            rows = mean.sum(axis=1)
            result[name] = {
                "faces": int(chosen.sum()),
                "map": mean,
                **{
                    part: float(rows[thirds[j] : thirds[j + 1]].sum())
                    for j, part in enumerate(("upper", "middle", "lower"))
                },
                "rim": float(mean[~inside].sum()),
            }
    return result
