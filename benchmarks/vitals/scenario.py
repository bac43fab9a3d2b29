"""What is filmed: the person's vital signs, motion and light, the camera, the codec; and the set that is measured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One film. Everything random in it follows from the seed."""

    name: str
    photo: str = "hopper"
    seed: int = 1
    seconds: float = 60.0
    fps: float = 30.0
    bpm: float = 72.0
    """Beats per minute on average; it varies with breathing and slowly."""
    amplitude: float = 0.005
    """Peak change of green by the pulse, as a share; 0: no pulse."""
    vasoconstriction: float = 0.0
    """Share by which the pulse's amplitude falls in three events."""
    breaths: float = 15.0
    """Per minute on average."""
    breath_px: float = 1.5
    """How far the chest moves up, peak, pixels; 0: no breathing."""
    motion_px: float = 1.0
    """How far the head moves, root mean square, pixels, slowly."""
    sway: float = 0.0
    """Share of the head's motion that the chest follows."""
    rocks: float = 0.0
    """The head goes to and fro so often per minute, instead of wandering; 0: it wanders."""
    nod: float = 0.0
    """Share of the chest's breathing that the head follows."""
    jerks: int = 0
    """Sudden moves of the head by 10 to 20 pixels."""
    noise: float = 2.0
    """Of the sensor at middle grey, standard deviation in grey levels; it grows with the square root of light."""
    drift: float = 0.01
    """How much the light changes, slowly, as a share."""
    exposure: float = 1.0
    dropped: float = 0.0
    """Share of the pictures that are lost."""
    jitter_s: float = 0.0
    """Of the moments of capture, standard deviation; the timestamps tell them."""
    codec: Literal["raw", "mjpeg", "h264"] = "raw"
    quality: int = 85
    """Of JPEG, 1 to 100; or the constant rate factor of H.264, 0 to 51."""
    pulse_aim: float | None = 0.5
    """Largest mean absolute error that is aimed at, beats per minute; None: only that no confident value is wrong."""
    breathing_aim: float | None = 0.15
    """The same in breaths per minute."""


def scenarios(photo: str, seed: int, seconds: float) -> list[Scenario]:
    """Return the set: every difficulty on its own."""
    base = Scenario(name="as a webcam sees it", photo=photo, seed=seed, seconds=seconds)

    def film(name: str, **what: object) -> Scenario:
        number = seed * 1000 + len(films)
        return replace(base, name=name, seed=number, **what)

    films: list[Scenario] = []
    for name, what in _FILMS:
        films.append(film(name, **what))
    return films


def without_pulse(photo: str, seed: int, seconds: float) -> list[Scenario]:
    """Return films on which there is no pulse to be found."""
    base = Scenario(name="", photo=photo, seconds=seconds, amplitude=0.0, pulse_aim=None)
    return [
        replace(base, name=f"no pulse, {name}", seed=seed * 1000 + 500 + n, **what)
        for n, (name, what) in enumerate(_NO_PULSE)
    ]


_DARK: dict[str, object] = {"exposure": 0.3, "noise": 3.0}

_ROCKS: dict[str, object] = {"motion_px": 6.0, "sway": 0.5, "breathing_aim": None}

_LONG_S = 75.0  # variability needs a minute, the arousal proxy 35 s before it tells anything

_FILMS: list[tuple[str, dict[str, object]]] = [
    ("as a webcam sees it", {}),
    ("pulse 0.25 %", {"amplitude": 0.0025}),
    ("pulse 0.1 %", {"amplitude": 0.001}),
    ("pulse 0.1 %, MJPEG q85", {"amplitude": 0.001, "codec": "mjpeg"}),
    ("head 4 px, 3 jerks", {"motion_px": 4.0, "jerks": 3}),
    ("head 8 px, 5 jerks", {"motion_px": 8.0, "jerks": 5}),
    ("noise 5", {"noise": 5.0}),
    ("light drifts 5 %", {"drift": 0.05}),
    ("dark (30 %)", {**_DARK, "pulse_aim": 1.0}),
    ("dark (30 %), MJPEG q85", {**_DARK, "codec": "mjpeg", "pulse_aim": None}),
    ("50 bpm", {"bpm": 50.0}),
    ("60 bpm", {"bpm": 60.0}),
    ("90 bpm", {"bpm": 90.0}),
    ("110 bpm", {"bpm": 110.0}),
    ("130 bpm", {"bpm": 130.0, "pulse_aim": None}),
    ("150 bpm", {"bpm": 150.0, "pulse_aim": None}),
    ("8 breaths", {"breaths": 8.0}),
    ("25 breaths", {"breaths": 25.0}),
    ("breathing 0.2 px", {"breath_px": 0.2}),
    ("chest sways along", {"motion_px": 2.0, "sway": 0.5, "breathing_aim": None}),
    ("chest sways by 4 px", {"motion_px": 8.0, "sway": 0.5, "breathing_aim": None}),
    ("10 fps", {"fps": 10.0, "pulse_aim": None}),
    ("15 fps", {"fps": 15.0}),
    ("60 fps", {"fps": 60.0}),
    ("10 % dropped", {"dropped": 0.1}),
    ("30 % dropped", {"dropped": 0.3}),
    ("jitter 20 ms", {"jitter_s": 0.02}),
    ("MJPEG q95", {"codec": "mjpeg", "quality": 95}),
    ("MJPEG q85", {"codec": "mjpeg", "quality": 85}),
    ("MJPEG q70", {"codec": "mjpeg", "quality": 70}),
    ("H.264 crf 8", {"codec": "h264", "quality": 8}),
    ("H.264 crf 12", {"codec": "h264", "quality": 12}),
    ("H.264 crf 15", {"codec": "h264", "quality": 15, "pulse_aim": 1.0}),
    ("H.264 crf 18", {"codec": "h264", "quality": 18, "pulse_aim": None}),
    ("H.264 crf 23", {"codec": "h264", "quality": 23, "pulse_aim": None}),
    ("H.264 crf 30", {"codec": "h264", "quality": 30, "pulse_aim": None}),
    ("no breathing", {"breath_px": 0.0, "breathing_aim": None}),
    ("arousal: amplitude halves", {"vasoconstriction": 0.5, "pulse_aim": None, "seconds": _LONG_S}),
    ("variability, 60 bpm", {"bpm": 60.0, "seconds": _LONG_S}),
    ("variability, 80 bpm, 60 fps", {"bpm": 80.0, "fps": 60.0, "seconds": _LONG_S}),
    ("rocks 20 a minute", {**_ROCKS, "rocks": 20.0}),
    ("rocks 20 a minute, no breathing", {**_ROCKS, "rocks": 20.0, "breath_px": 0.0}),
    ("head nods with the breath", {"nod": 0.5, "breathing_aim": None}),
]

_NO_PULSE: list[tuple[str, dict[str, object]]] = [
    ("still", {"motion_px": 0.3}),
    ("webcam", {}),
    ("head 4 px, 3 jerks", {"motion_px": 4.0, "jerks": 3}),
    ("light drifts 5 %", {"drift": 0.05}),
    ("dark, MJPEG q85", {**_DARK, "codec": "mjpeg"}),
    ("MJPEG q85", {"codec": "mjpeg"}),
    ("H.264 crf 18", {"codec": "h264", "quality": 18}),
    ("15 fps, 30 % dropped", {"fps": 15.0, "dropped": 0.3}),
]
