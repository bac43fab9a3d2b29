"""Tells people when something happens: runs a command, or sends a notification."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Mapping
from queue import Empty, Full, Queue
from typing import Any, NamedTuple

import msgspec

from labwire.bus.actor import Actor, ActorContext, Notification
from labwire.bus.alert_config import AlertConfig
from labwire.strict import Strict

MAX_WAITING = 32
"""Most commands that wait; more are counted as lost."""
_KEY = "alert"
_MAX_OUTPUT_CHARS = 500


class AlertsOptions(Strict):
    """Options of the alerts; the rig fills them in."""

    alerts: dict[str, AlertConfig]
    folder: str = ""
    """Where commands run; empty means where the rig was started."""


class _Order(NamedTuple):
    name: str
    subject: str
    config: AlertConfig
    cause: dict[str, Any]


class Alerts(Actor):
    """Runs commands and sends notifications when something happens."""

    Config = AlertsOptions
    options: AlertsOptions

    def __init__(self, context: ActorContext) -> None:
        super().__init__(context)
        self._last_s: dict[str, float] = {}
        self._left_out: dict[str, int] = {}
        self._orders: Queue[_Order | None] = Queue(MAX_WAITING)
        self._process: subprocess.Popen[bytes] | None = None
        self._ending = False
        self._thread = threading.Thread(target=self._run_for_ever, name="commands of alerts", daemon=True)

    def on_start(self) -> None:
        """Be ready to run commands."""
        self._thread.start()

    def on_stop(self) -> None:
        """Let what waits be; end the command that runs."""
        self._ending = True
        try:
            while True:
                self._orders.get_nowait()
        except Empty:
            self._orders.put(None)
        if process := self._process:
            process.terminate()
        if self._thread.is_alive():
            self._thread.join()

    def on_notify(self, notification: Notification) -> None:
        """Tell people when something happens, as ``[alerts.NAME]`` in the rig file says.

        Reacts to notifications:
            Those that the rig file names.

        Emits notifications:
            Those that the rig file names, with ``alert``, ``about``, ``cause`` and ``left_out``.
            ``alert.failed``: A command could not be run, took too long, or ended with an error.
        """
        subject = notification["subject"]
        if _KEY in notification:
            return  # of an alert; two of them must not answer each other for ever
        for name, config in self.options.alerts.items():
            if subject.startswith(config.subjects):
                self._raise(name, config, notification)

    def _raise(self, name: str, config: AlertConfig, notification: Notification) -> None:
        now_s = time.monotonic()
        if now_s - self._last_s.get(name, -config.at_most_every_s) < config.at_most_every_s:
            self._left_out[name] = self._left_out.get(name, 0) + 1
            return
        self._last_s[name] = now_s
        left_out = self._left_out.pop(name, 0)
        subject: str = notification["subject"]
        cause: dict[str, Any] = {str(key): value for key, value in notification.items()}
        self.log.warning("alert %s: %s%s", name, subject, f" ({left_out} more before)" if left_out else "")
        if config.notify:
            self.notify(config.notify, **{_KEY: name, "about": subject, "cause": cause, "left_out": left_out})
        if config.command:
            try:
                self._orders.put_nowait(_Order(name, subject, config, {**cause, "left_out": left_out}))
            except Full:
                self._fail(name, f"{MAX_WAITING} commands are waiting already")

    # --- commands, on a thread of their own

    def _run_for_ever(self) -> None:
        while (order := self._orders.get()) is not None:
            try:
                self._run(order)
            except (OSError, ValueError) as error:
                self._fail_later(order.name, f"{order.config.command[0]}: {error}")

    def _run(self, order: _Order) -> None:
        process = self._process = subprocess.Popen(
            order.config.command,
            env={**os.environ, **self._environment(order)},
            cwd=self.options.folder or None,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        with process:
            try:
                output, _ = process.communicate(_to_json(order.cause), order.config.timeout_s)
            except subprocess.TimeoutExpired:
                process.kill()
                self._fail_later(order.name, f"{process.args!r} took longer than {order.config.timeout_s:g} s")
                return
            finally:
                self._process = None
        if process.returncode and not self._ending:
            text = output.decode("utf-8", "replace").strip()[-_MAX_OUTPUT_CHARS:]
            self._fail_later(order.name, f"{order.config.command[0]} ended with {process.returncode}: {text}")

    def _environment(self, order: _Order) -> Mapping[str, str]:
        return {
            "LABWIRE_ALERT": order.name,
            "LABWIRE_SUBJECT": order.subject.replace("\0", ""),
            "LABWIRE_RIG": self.context.rig_name,
        }

    def _fail_later(self, name: str, why: str) -> None:
        self.post(lambda: self._fail(name, why))

    def _fail(self, name: str, why: str) -> None:
        self.log.error("alert %s: %s", name, why)
        self.notify("alert.failed", **{_KEY: name, "reason": why})


def _to_json(value: Mapping[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(value, enc_hook=repr)
    except (TypeError, ValueError, msgspec.MsgspecError):  # what MessagePack holds and JSON does not
        return msgspec.json.encode({key: repr(one) for key, one in value.items()})
