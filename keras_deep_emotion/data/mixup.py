"""Mixup of batches, by operators that tensors and arrays of every library have."""


def mixup(shares, images, targets, weights=None):
    """Mix each face with its counterpart in the reversed batch: the first with the last, and so on.

    Source: Zhang et al., "mixup: Beyond Empirical Risk Minimization" (2018). The (batch,) shares of
    the face itself, 0 to 1, and the (batch,) weights in the loss, above 0, are float32. The loss of
    a mixed face is the mean of the weighted losses on its two targets, weighted by the shares.
    Returns images and targets, and weights if given.
    """

    def mix(column, shares):
        return shares * column + (1 - shares) * column[::-1]

    images = mix(images, shares[:, None, None, None])
    if weights is None:
        return images, mix(targets, shares[:, None])
    # The loss is linear in the targets.
    mixed_weights = mix(weights, shares)
    return images, mix(targets, (shares * weights / mixed_weights)[:, None]), mixed_weights
