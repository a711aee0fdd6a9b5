"""Mixup, on tensors or arrays of any library: it needs nothing but their operators."""


def mixup(shares, images, targets, weights=None):
    """Each face mixed with its opposite in the batch: the first with the last, and so on.

    A network that learns from mixed faces answers more evenly between them and learns fewer by
    heart. Source: Zhang et al., "mixup: Beyond Empirical Risk Minimization" (2018).

    Args:
        shares: (batch,) float32, share of the face itself, 0 to 1.
        images: (batch, size, size, 1) float32.
        targets: (batch, classes) float32 shares of the classes.
        weights: (batch,) float32 weight of each face in the loss, above 0, or None for 1.

    Returns:
        (images, targets), and weights where given: the loss of a mixed face is the mean, by
        shares, of the weighted losses on its two targets.
    """

    def mix(column, shares):
        return shares * column + (1 - shares) * column[::-1]

    images = mix(images, shares[:, None, None, None])
    if weights is None:
        return images, mix(targets, shares[:, None])
    # The loss is linear in the targets: weights and shares together are the shares of these.
    both = mix(weights, shares)
    return images, mix(targets, (shares * weights / both)[:, None]), both
