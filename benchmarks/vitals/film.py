"""Films a scenario: pictures with the moments of their capture, and the truth about what they show.

The pulse modulates skin in the ratio R:G:B = 0.33 : 0.77 : 0.53 (de Haan and van Leest, 2014) and is in phase over the
whole face; the chest moves up and down as a whole. Real people differ in both.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.vitals.scenario import Scenario
from benchmarks.vitals.subject import HEIGHT, WIDTH, Subject, subject_of
from labwire.picture import Picture, encode_jpeg, picture_of

START_US = 1_700_000_000_000_000
_GRID_HZ = 200
_BGR_OF_PULSE = np.array([0.53, 0.77, 0.33]) / 0.77
_SHADING_PER_PX = 0.0015  # light comes from the side: a face that moves changes its brightness

Floats = NDArray[np.float64]


class Film:
    """One scenario, filmed.

    >>> film = Film(Scenario(name="short", seconds=2))
    >>> len(list(film.pictures()))
    60
    """

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.subject: Subject = subject_of(scenario.photo)
        self._rng = np.random.default_rng(scenario.seed)
        self._grid_s = np.arange(0, scenario.seconds + 2, 1 / _GRID_HZ)
        rates = self._slow(0.02, 0.08)
        breathing_hz = scenario.breaths / 60 * (1 + 0.02 * self._slow(0.01, 0.05))
        self._breath_turns = self._turns(breathing_hz)
        breath = np.sin(2 * np.pi * self._breath_turns)
        pulse_hz = (scenario.bpm + 1.5 * breath + 1.0 * rates) / 60
        self._pulse_turns = self._turns(pulse_hz)
        self.pulse_wave = self._pulse_wave()
        self.chest_px = scenario.breath_px * (breath + 0.15 * np.sin(4 * np.pi * self._breath_turns + 0.7))
        self._head_x, self._head_y = self._head_motion()
        self._light = 1 + scenario.drift * self._slow(0.01, 0.2)
        self.capture_s = self._capture_times()

    # --- the truth

    def pulse_bpm(self, end_s: float, window_s: float) -> float:
        """Return the mean pulse over a window that ends at a time, beats per minute."""
        return self._rate(self._pulse_turns, end_s, window_s)

    def breaths_per_min(self, end_s: float, window_s: float) -> float:
        """Return the mean breathing rate over a window that ends at a time."""
        return self._rate(self._breath_turns, end_s, window_s)

    def beat_times_s(self) -> Floats:
        """Return when beats begin."""
        turns = self._pulse_turns
        beats = np.arange(np.ceil(turns[0]), np.floor(turns[-1]))
        return np.interp(beats, turns, self._grid_s)

    def amplitude_at(self, time_s: float) -> float:
        """Return the pulse's amplitude at a time, as a share of that without vasoconstriction."""
        return float(np.interp(time_s, self._grid_s, self._tone()))

    def _rate(self, turns: Floats, end_s: float, window_s: float) -> float:
        then, now = np.interp([end_s - window_s, end_s], self._grid_s, turns)
        return float(now - then) / window_s * 60

    # --- how things go on

    def _slow(self, lowest_hz: float, highest_hz: float) -> Floats:
        """Return something random that changes slowly, with a root mean square of about 1."""
        frequencies = self._rng.uniform(lowest_hz, highest_hz, 12)
        phases = self._rng.uniform(0, 2 * np.pi, 12)
        return cast("Floats", np.sin(2 * np.pi * np.outer(self._grid_s, frequencies) + phases).sum(1) / np.sqrt(6))

    def _turns(self, hz: Floats) -> Floats:
        return np.cumsum(hz) / _GRID_HZ + self._rng.uniform()

    def _tone(self) -> Floats:
        tone = np.ones_like(self._grid_s)
        for start in np.linspace(0.6, 0.9, 3) * self.scenario.seconds:
            since = np.maximum(self._grid_s - start, 0)
            tone -= self.scenario.vasoconstriction * (1 - np.exp(-since)) * np.exp(-since / 6)
        return tone

    def _pulse_wave(self) -> Floats:
        angle = 2 * np.pi * self._pulse_turns
        return self.scenario.amplitude * self._tone() * (np.sin(angle) + 0.3 * np.sin(2 * angle + 0.9)) / 1.15

    def _head_motion(self) -> tuple[Floats, Floats]:
        scenario, grid = self.scenario, self._grid_s
        x, y = self._to_and_fro() if scenario.rocks else (self._slow(0.05, 0.5), self._slow(0.05, 0.5))
        x, y = scenario.motion_px * x, 0.6 * scenario.motion_px * y - scenario.nod * self.chest_px
        for start in self._rng.uniform(5, max(6.0, scenario.seconds - 5), scenario.jerks):
            size = self._rng.uniform(10, 20) * self._rng.choice([-1, 1])
            moved = 1 / (1 + np.exp(-(grid - start) / 0.06))
            back = 1 / (1 + np.exp(-(grid - start - self._rng.uniform(1, 4)) / 0.2))
            x, y = x + size * (moved - back), y + 0.4 * size * (moved - back)
        return x, y

    def _to_and_fro(self) -> tuple[Floats, Floats]:
        angle = 2 * np.pi * self._turns(self.scenario.rocks / 60 * (1 + 0.03 * self._slow(0.01, 0.08)))
        across, up = (0.2 * self._slow(0.05, 0.5) for _ in range(2))
        return 1.4 * np.sin(angle) + across, 1.4 * np.sin(angle + self._rng.uniform(0, 2 * np.pi)) + up

    def _capture_times(self) -> Floats:
        scenario = self.scenario
        times = np.arange(round(scenario.seconds * scenario.fps)) / scenario.fps
        if scenario.jitter_s:
            times = np.sort(times + np.clip(self._rng.normal(0, scenario.jitter_s, len(times)), -0.1, 0.1))
            times = np.maximum(times - times[0], np.arange(len(times)) * 1e-4)
        kept = self._rng.random(len(times)) >= scenario.dropped
        kept[0] = True
        return times[kept]

    # --- pictures

    def pictures(self) -> Iterator[Picture]:
        """Yield the pictures as the program gets them."""
        frames = self._frames()
        if self.scenario.codec == "h264":
            frames = _through_h264(frames, self.scenario.quality, round(self.scenario.fps))
        for n, (pixels, time_s) in enumerate(zip(frames, self.capture_s, strict=True)):
            epoch_us = START_US + round(time_s * 1e6)
            if self.scenario.codec != "mjpeg":
                yield picture_of(pixels, index=n, monotonic_s=time_s, epoch_us=epoch_us)
                continue
            data = encode_jpeg(pixels, self.scenario.quality)
            yield Picture(
                index=n, monotonic_s=time_s, epoch_us=epoch_us, width=WIDTH, height=HEIGHT, format="jpeg", data=data
            )

    def _frames(self) -> Iterator[NDArray[np.uint8]]:
        subject, scenario = self.subject, self.scenario
        y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
        modulated = subject.skin[:, :, None] * _BGR_OF_PULSE.astype(np.float32)
        grain = self._rng.standard_normal((HEIGHT + 200, WIDTH + 200, 3), np.float32)
        levels = subject.photo * np.float32(scenario.exposure)
        strength = np.float32(scenario.noise) * np.sqrt(np.maximum(levels, 4.0) / 128)
        for time_s in self.capture_s:
            now = [float(np.interp(time_s, self._grid_s, track)) for track in self._tracks()]
            pulse, chest, head_x, head_y, light = now
            shown = levels * (1 + np.float32(pulse) * modulated)
            move_x = subject.head * np.float32(head_x) + subject.chest * np.float32(head_x * scenario.sway)
            move_y = subject.head * np.float32(head_y) + subject.chest * np.float32(head_y * scenario.sway - chest)
            moved = cv2.remap(shown, x - move_x, y - move_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            moved *= np.float32(light * (1 + _SHADING_PER_PX * head_x))
            top, left = self._rng.integers(0, 200, 2)
            moved += strength * grain[top : top + HEIGHT, left : left + WIDTH]
            yield cast("NDArray[np.uint8]", np.clip(np.rint(moved), 0, 255).astype(np.uint8))

    def _tracks(self) -> tuple[Floats, ...]:
        return self.pulse_wave, self.chest_px, self._head_x, self._head_y, self._light


def _through_h264(frames: Iterator[NDArray[np.uint8]], crf: int, fps: int) -> Iterator[NDArray[np.uint8]]:
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as opened:
        writer = cast("Any", opened)
        stream = writer.add_stream("libx264", rate=fps, options={"crf": str(crf), "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.thread_count = 1
        for pixels in frames:
            for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="bgr24")):
                writer.mux(packet)
        for packet in stream.encode():
            writer.mux(packet)
    buffer.seek(0)
    with av.open(buffer, "r") as opened:
        for frame in cast("Any", opened).decode(video=0):
            yield frame.to_ndarray(format="bgr24")
