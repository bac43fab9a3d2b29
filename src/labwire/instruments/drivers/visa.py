"""The base of drivers that speak to an instrument through VISA: USB, LAN, GPIB, serial, or simulated."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from labwire.errors import ConfigError, DeadlineError, DeviceError, MissingExtraError, install_command, needs_extra
from labwire.instruments.driver import Driver
from labwire.strict import Strict

SIMULATION = Path(__file__).with_name("simulated_visa.yaml")
"""The instruments that backend ``@sim`` offers unless another file is named."""
_NO_ERROR = {"0", "+0", "-0"}
_MAX_ERRORS = 20  # an instrument's error queue that never gets empty is none


class SerialConfig(Strict):
    """Settings of a serial line."""

    baud_rate: Annotated[int, msgspec.Meta(ge=50, le=10_000_000)] = 9600
    data_bits: Literal[5, 6, 7, 8] = 8
    parity: Literal["none", "odd", "even", "mark", "space"] = "none"
    stop_bits: Literal["1", "1.5", "2"] = "1"
    flow_control: Literal["none", "xon_xoff", "rts_cts", "dtr_dsr"] = "none"


class VisaConfig(Strict):
    """How to reach an instrument."""

    resource: str
    """Its VISA name: ``TCPIP0::192.168.1.5::inst0::INSTR``, ``USB0::0x2A8D::0x0101::MY1::INSTR``, ``GPIB0::22::INSTR``,
    ``ASRL/dev/ttyUSB0::INSTR``."""
    backend: str = "@py"
    """``@py``: pyvisa-py; ``@ivi``: the VISA library of a vendor; ``@sim`` or ``FILE.yaml@sim``: simulated."""
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 2.0
    """How long the instrument may take to answer."""
    read_termination: str = "\n"
    """What ends its answers."""
    write_termination: str = "\n"
    """What ends our commands."""
    serial: SerialConfig = SerialConfig()
    """For a serial line."""


class VisaDriver(Driver):
    """Opens, asks, checks for errors, and opens again what was lost.

    Subclass it and use its methods that begin with an underscore.

    >>> class Supply(VisaDriver):
    ...     def set_voltage(self, voltage_v: float) -> None:
    ...         '''Set the voltage.'''
    ...         self._write(f"VOLT {voltage_v:g}")
    ...         self._check_errors()
    """

    Config = VisaConfig
    _session: Any = None

    def open(self) -> None:
        """Connect."""
        self._open()

    def close(self) -> None:
        """Disconnect."""
        if self._session is not None:
            with contextlib.suppress(Exception):  # it may be gone
                self._session.close()
            self._session = None

    # --- for subclasses

    def _write(self, command: str) -> None:
        """Send a command that has no answer.

        Raises:
            DeviceError: The instrument cannot be reached.
            DeadlineError: It does not take the command.
        """
        with self._talking(command) as session:
            session.write(command)

    def _query(self, command: str) -> str:
        """Send a command and return its answer without blanks at its ends.

        Raises:
            DeviceError: The instrument cannot be reached.
            DeadlineError: It does not answer in time.
        """
        with self._talking(command) as session:
            return session.query(command).strip()

    def _query_block(self, command: str, datatype: str, *, big_endian: bool) -> Any:
        """Send a command and return the binary block that it answers with as a numpy array.

        Args:
            command: What to ask.
            datatype: Of the elements, as `struct` names them: ``B``, ``h``, ``f``, ...
            big_endian: The first byte of each is the highest.

        Raises:
            DeviceError: The instrument cannot be reached, or answers with something else.
            DeadlineError: It does not answer in time.
        """
        with needs_extra("waveforms"):
            import numpy as np
        with self._talking(command) as session:
            return session.query_binary_values(
                command, datatype=datatype, is_big_endian=big_endian, container=np.array, header_fmt="ieee"
            )

    def _check_errors(self, query: str = "SYST:ERR?") -> None:
        """Ask for the errors that the instrument has noted.

        Raises:
            DeviceError: There were some; the text has them all.
        """
        found: list[str] = []
        while len(found) < _MAX_ERRORS:
            answer = self._query(query)
            if answer.partition(",")[0] in _NO_ERROR:
                break
            found.append(answer)
        if found:
            raise DeviceError(f"{self.options.resource} reports: {'; '.join(found)}", errors=found)

    @contextlib.contextmanager
    def _within(self, timeout_s: float) -> Generator[None]:
        """Give the instrument more time, for what takes long."""
        session = self._open()
        session.timeout = timeout_s * 1000
        try:
            yield
        finally:
            if self._session is session:
                session.timeout = self.options.timeout_s * 1000

    @contextlib.contextmanager
    def _talking(self, command: str) -> Generator[Any]:
        session = self._open()
        import pyvisa.errors
        from pyvisa.constants import StatusCode

        where = f"{self.options.resource}: {command[:100]!r}"
        try:
            yield session
        except pyvisa.errors.VisaIOError as error:
            if error.error_code == StatusCode.error_timeout:
                with contextlib.suppress(Exception):  # so that a late answer is not taken for that of the next command
                    session.clear()
                raise DeadlineError(f"{where} was not answered within {session.timeout / 1000:g} s") from error
            self.close()
            raise DeviceError(f"{where} failed: {error.description}") from error
        except (OSError, EOFError) as error:
            self.close()
            raise DeviceError(f"{where} failed: {error}") from error
        except (ValueError, UnicodeError) as error:
            with contextlib.suppress(Exception):
                session.clear()
            raise DeviceError(f"{where} was answered with something else: {error}") from error

    def _open(self) -> Any:
        if self._session is None:
            self._session = self._connect()
        return self._session

    def _connect(self) -> Any:
        options: VisaConfig = self.options
        with needs_extra("visa"):
            import pyvisa
            from pyvisa import constants
        try:
            manager = pyvisa.ResourceManager(_library_of(options.backend))
        except (ValueError, OSError, ImportError) as error:
            raise _no_backend(options.backend, error) from error
        settings: dict[str, Any] = {}
        if options.resource.upper().startswith("ASRL"):
            line = options.serial
            settings = {
                "baud_rate": line.baud_rate,
                "data_bits": line.data_bits,
                "parity": constants.Parity[line.parity],
                "stop_bits": constants.StopBits(int(float(line.stop_bits) * 10)),
                "flow_control": constants.ControlFlow[line.flow_control],
            }
        try:
            session: Any = manager.open_resource(
                options.resource,
                read_termination=options.read_termination,
                write_termination=options.write_termination,
                timeout=options.timeout_s * 1000,
                open_timeout=int(options.timeout_s * 1000),
                **settings,
            )
        except Exception as error:
            raise _cannot_open(options, str(error)) from error
        if getattr(session, "session", None) == 0:  # pyvisa-sim hands out a dead session instead of an error
            raise _cannot_open(options, f"there is no such resource; there are {', '.join(manager.list_resources())}")
        return session


def _cannot_open(options: VisaConfig, why: str) -> DeviceError:
    return DeviceError(
        f"{options.resource} cannot be opened by backend {options.backend}: {why}; is it on, and is its name right?",
        resource=options.resource,
    )


def _library_of(backend: str) -> str:
    return f"{SIMULATION}@sim" if backend == "@sim" else backend


def _no_backend(backend: str, error: Exception) -> ConfigError | MissingExtraError:
    name = backend.rpartition("@")[2]
    extra = {"py": "visa", "sim": "demo"}.get(name)
    if extra and not isinstance(error, OSError):
        return MissingExtraError(f"VISA backend {backend!r}: {error}; to install it: {install_command(extra)}")
    return ConfigError(f"VISA backend {backend!r} cannot be used: {error}")
