"""Follow people from frame to frame of a video, and smooth their probabilities."""

import dataclasses
import math

import numpy as np

# Ours, seconds: a face that is not seen longer, and not in the last frame, begins a new track.
PATIENCE = 2.0
# Ours: a face continues a track if its center is less than this from where the track is expected,
# in sides of the box, and its side is at most this many times larger or smaller. The distance grows
# with the time since the track was seen, as people walk, by so many sides a second up to the last.
DISTANCE, SPEED, MOST_DISTANCE = 0.75, 1.0, 2.0
MOST_GROWTH = 1.8
MEMORY = 0.5  # ours: share of the last velocity in the next, against the jitter of boxes


@dataclasses.dataclass
class Track:
    """What is known of a person: number, center and side of the last box, velocity a second."""

    number: int
    center: np.ndarray
    side: float
    velocity: np.ndarray
    seconds: float
    probabilities: np.ndarray
    is_missed: bool = False  # in the last frame


class Tracker:
    """Numbers the people of a video from 1, in the order in which they appear.

    A track goes on with the face nearest to where its velocity leads; assignments are those with
    the smallest sum of distances (Kuhn, 1955). Faces are told apart by place and size only: who
    leaves the picture and comes back is a new person.

    Args:
        smooth: Time constant of the exponential moving average of each person's probabilities,
            seconds; 0 leaves them as they are.
    """

    def __init__(self, smooth: float = 0.0):
        self.smooth = smooth
        self._tracks: list[Track] = []
        self._count = 0

    def update(
        self, boxes: np.ndarray, probabilities: np.ndarray, seconds: float
    ) -> tuple[list[int], np.ndarray]:
        """Add the faces of the next frame.

        Args:
            boxes: (faces, 4) x, y, width and height.
            probabilities: (faces, classes) float32.
            seconds: Time of the frame.

        Returns:
            The person's number of each face, and (faces, classes) smoothed probabilities.
        """
        # Frames may be further apart than `PATIENCE`.
        self._tracks = [
            one for one in self._tracks if not one.is_missed or seconds - one.seconds <= PATIENCE
        ]
        boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
        centers = boxes[:, :2] + boxes[:, 2:] / 2
        sides = np.maximum(np.sqrt(boxes[:, 2] * boxes[:, 3]), 1e-6)
        tracks = self._assign(centers, sides, seconds)
        for track in self._tracks:
            track.is_missed = True
        for i, track in enumerate(tracks):
            if track is None:
                self._count += 1
                still = np.zeros(2)
                tracks[i] = Track(
                    self._count, centers[i], sides[i], still, seconds, probabilities[i]
                )
                self._tracks.append(tracks[i])
            else:
                self._continue(track, centers[i], sides[i], seconds, probabilities[i])
        smoothed = [track.probabilities for track in tracks]
        return [track.number for track in tracks], np.array(smoothed).reshape(probabilities.shape)

    def _assign(self, centers, sides, seconds):
        """The track that each face continues, or None."""
        assigned = [None] * len(centers)
        if not self._tracks or not len(centers):
            return assigned
        from scipy.optimize import linear_sum_assignment  # a photo needs none

        expected = [one.center + one.velocity * (seconds - one.seconds) for one in self._tracks]
        known = np.array([one.side for one in self._tracks])
        apart = np.linalg.norm(centers[:, None] - np.array(expected), axis=2)
        distance = apart / np.maximum(sides[:, None], known)
        growth = np.abs(np.log(sides[:, None] / known))
        passed = np.array([seconds - one.seconds for one in self._tracks])
        reach = np.clip(DISTANCE + SPEED * passed, DISTANCE, MOST_DISTANCE)
        possible = (distance < reach) & (growth < math.log(MOST_GROWTH))
        cost = np.where(possible, distance + growth, 1e3)
        for face, track in zip(*linear_sum_assignment(cost), strict=True):
            if possible[face, track]:
                assigned[face] = self._tracks[track]
        return assigned

    def _continue(self, track, center, side, seconds, probabilities):
        passed = max(seconds - track.seconds, 1e-6)
        velocity = (center - track.center) / passed
        track.velocity = MEMORY * track.velocity + (1 - MEMORY) * velocity
        weight = 1.0 if self.smooth == 0 else -math.expm1(-passed / self.smooth)
        new = track.probabilities + weight * (probabilities - track.probabilities)
        track.probabilities = new.astype(probabilities.dtype)
        track.center, track.side, track.seconds = center, side, seconds
        track.is_missed = False
