"""A simulated pair of eyes: time in, pupil and gaze data out, in the form in which Pupil Core sends them.

Whoever reads them can tell: their ``method`` is ``simulated 2d`` or ``simulated 3d``. No device, clock or thread here.
"""

from __future__ import annotations

import math
import random
from typing import Any, TypeAlias

from labwire.sources.config import SimulatedEyesConfig
from labwire.sources.eye_motion import EyeMotion, Pose

Message: TypeAlias = tuple[str, dict[str, Any]]
Vector: TypeAlias = tuple[float, float, float]

SURE = 0.6
"""Below this confidence an eye is left out of binocular gaze, as Pupil Core does."""

# Eye cameras: 192 x 192 pixels, focal length in pixels. Eyeballs as they see them, in millimetres.
_EYE_SIDE_PX, _EYE_FOCAL_PX = 192, 140.0
_EYEBALL_MM: dict[int, Vector] = {0: (-1.5, 2.0, 38.0), 1: (1.2, 1.8, 37.5)}
_EYEBALL_RADIUS_MM = 10.392304845413264
# The world camera: where the eyes are from there, in millimetres (x right, y down, z ahead); focal length in pixels.
_EYE_IN_WORLD_MM: dict[int, Vector] = {0: (20.0, 15.0, -20.0), 1: (-40.0, 15.0, -20.0)}
_WORLD_WIDTH_PX, _WORLD_HEIGHT_PX, _WORLD_FOCAL_PX = 640, 480, 554.0


class SimulatedEyes:
    """Make the messages of a pair of eyes.

    >>> eyes = SimulatedEyes(SimulatedEyesConfig())
    >>> [topic for topic, payload in eyes.messages(0.0, timestamp=12.5)]
    ['pupil.0.2d', 'pupil.0.3d', 'pupil.1.2d', 'pupil.1.3d', 'gaze.3d.01.']

    The same seed and the same times give the same messages.
    """

    def __init__(self, config: SimulatedEyesConfig) -> None:
        self._eyes = config.eyes
        self._gaze = config.gaze
        self._motion = EyeMotion(config.seed)
        self._noise = random.Random(config.seed + 1)

    def messages(self, elapsed_s: float, timestamp: float) -> list[Message]:
        """Return topic and payload of all messages of one moment.

        Args:
            elapsed_s: Time since the eyes began, on a clock that does not go back.
            timestamp: What to stamp them with: rig time, in seconds.
        """
        pose = self._motion.at(elapsed_s)
        point = _looked_at(pose)
        messages: list[Message] = []
        data: dict[int, dict[str, Any]] = {}
        for eye in self._eyes:
            gaze = _towards(_EYE_IN_WORLD_MM[eye], point)
            datum = self._pupil_3d(eye, pose, gaze, timestamp)
            messages.append((f"pupil.{eye}.2d", _pupil_2d(datum)))
            messages.append((f"pupil.{eye}.3d", datum))
            data[eye] = datum
        if self._gaze:
            messages += _gaze_messages(data, point, timestamp)
        return messages

    def _pupil_3d(self, eye: int, pose: Pose, gaze: Vector, timestamp: float) -> dict[str, Any]:
        noise = self._noise.gauss
        ball_x, ball_y, ball_z = _EYEBALL_MM[eye]
        # The eye camera looks at the eye from the front: what goes right and ahead goes left and towards the camera.
        normal_x, normal_y, normal_z = -gaze[0], gaze[1], -gaze[2]
        x = ball_x + _EYEBALL_RADIUS_MM * normal_x
        y = ball_y + _EYEBALL_RADIUS_MM * normal_y
        z = ball_z + _EYEBALL_RADIUS_MM * normal_z
        scale = _EYE_FOCAL_PX / z
        ball_scale = _EYE_FOCAL_PX / ball_z
        u = _EYE_SIDE_PX / 2 + scale * x + noise(0, 0.05)
        v = _EYE_SIDE_PX / 2 + scale * y + noise(0, 0.05)
        ball_u, ball_v = _EYE_SIDE_PX / 2 + ball_scale * ball_x, _EYE_SIDE_PX / 2 + ball_scale * ball_y
        diameter_mm = pose.pupil_mm + noise(0, 0.01)
        major_px = scale * diameter_mm
        facing = abs(normal_x * x + normal_y * y + normal_z * z) / math.sqrt(x * x + y * y + z * z)
        # Lids hide the pupil from above: it looks flat and is not found any more.
        minor_px = major_px * max(0.05, facing * pose.openness)
        confidence = max(0.0, min(1.0, (0.98 + noise(0, 0.006)) * pose.openness))
        ball_px = 2 * ball_scale * _EYEBALL_RADIUS_MM
        return {
            "id": eye,
            "topic": f"pupil.{eye}.3d",
            "method": "simulated 3d",
            "norm_pos": [u / _EYE_SIDE_PX, 1 - v / _EYE_SIDE_PX],
            "diameter": major_px,
            "confidence": confidence,
            "timestamp": timestamp,
            "ellipse": {
                "center": [u, v],
                "axes": [minor_px, major_px],
                "angle": math.degrees(math.atan2(v - ball_v, u - ball_u)),
            },
            "location": [u, v],
            "sphere": {"center": [ball_x, ball_y, ball_z], "radius": _EYEBALL_RADIUS_MM},
            "projected_sphere": {"center": [ball_u, ball_v], "axes": [ball_px, ball_px], "angle": 0.0},
            "circle_3d": {"center": [x, y, z], "normal": [normal_x, normal_y, normal_z], "radius": diameter_mm / 2},
            "diameter_3d": diameter_mm,
            "model_confidence": 1.0,
            "theta": math.acos(normal_y),
            "phi": math.atan2(normal_z, normal_x),
        }


def _pupil_2d(datum: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": datum["id"],
        "topic": f"pupil.{datum['id']}.2d",
        "method": "simulated 2d",
        "norm_pos": datum["norm_pos"],
        "diameter": datum["diameter"],
        "confidence": datum["confidence"],
        "timestamp": datum["timestamp"],
        "ellipse": datum["ellipse"],
    }


def _gaze_messages(data: dict[int, dict[str, Any]], point: Vector, timestamp: float) -> list[Message]:
    if len(data) > 1 and all(datum["confidence"] >= SURE for datum in data.values()):
        return [_binocular(data, point, timestamp)]
    return [_monocular(eye, datum, point, timestamp) for eye, datum in data.items()]


def _binocular(data: dict[int, dict[str, Any]], point: Vector, timestamp: float) -> Message:
    topic = "gaze.3d.01."
    return topic, {
        "topic": topic,
        "norm_pos": _in_world(point),
        "confidence": sum(datum["confidence"] for datum in data.values()) / len(data),
        "timestamp": timestamp,
        "eye_centers_3d": {str(eye): list(_EYE_IN_WORLD_MM[eye]) for eye in data},
        "gaze_normals_3d": {str(eye): list(_towards(_EYE_IN_WORLD_MM[eye], point)) for eye in data},
        "gaze_point_3d": list(point),
        "base_data": list(data.values()),
    }


def _monocular(eye: int, datum: dict[str, Any], point: Vector, timestamp: float) -> Message:
    topic = f"gaze.3d.{eye}."
    return topic, {
        "topic": topic,
        "norm_pos": _in_world(point),
        "confidence": datum["confidence"],
        "timestamp": timestamp,
        "eye_center_3d": list(_EYE_IN_WORLD_MM[eye]),
        "gaze_normal_3d": list(_towards(_EYE_IN_WORLD_MM[eye], point)),
        "gaze_point_3d": list(point),
        "base_data": [datum],
    }


def _looked_at(pose: Pose) -> Vector:
    return (
        pose.depth_mm * math.tan(math.radians(pose.right_deg)),
        -pose.depth_mm * math.tan(math.radians(pose.up_deg)),
        pose.depth_mm,
    )


def _towards(origin: Vector, point: Vector) -> Vector:
    x, y, z = point[0] - origin[0], point[1] - origin[1], point[2] - origin[2]
    length = math.sqrt(x * x + y * y + z * z)
    return x / length, y / length, z / length


def _in_world(point: Vector) -> list[float]:
    # Origin at the bottom left, 0 to 1.
    x, y, z = point
    return [0.5 + _WORLD_FOCAL_PX * x / z / _WORLD_WIDTH_PX, 0.5 - _WORLD_FOCAL_PX * y / z / _WORLD_HEIGHT_PX]
