"""The one error tree. Each error says place, found and wanted in its message, and the remedy apart.

The command line turns any of these into `message`, `remedy` and the exit code; nothing else needs to catch them.
"""

from __future__ import annotations


class PinembedError(Exception):
    """The root: a failure that the user can understand and act on.

    Args:
        message: place, found, wanted; one or two sentences.
        remedy: what to do now; one sentence.
    """

    exit_code: int = 1

    def __init__(self, message: str, *, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __reduce__(self) -> tuple[object, ...]:
        """So that a worker on another machine can hand it on, with all that it says."""
        return _remade, (type(self), self.args, self.__dict__)


def _remade(kind: type[PinembedError], args: tuple[object, ...], state: dict[str, object]) -> PinembedError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class UsageError(PinembedError):
    """A flag or argument has a value that cannot be meant: an unknown column, split, format."""

    exit_code = 2


class DataError(PinembedError):
    """A DATA or IMAGES folder is not what it should be."""


class ImageError(PinembedError):
    """One image cannot be turned into pixels. Jobs count it, name it and go on.

    Args:
        message: what is wrong with this image.
        remedy: what to do about it.
        reason: short machine-readable class of the failure, e.g. `truncated`, `not_an_image`.
    """

    def __init__(self, message: str, *, remedy: str, reason: str) -> None:
        super().__init__(message, remedy=remedy)
        self.reason = reason


class TooManyFailuresError(PinembedError):
    """More images failed than the user allows; what was good is stored."""

    exit_code = 3


class EncoderError(PinembedError):
    """An encoder cannot be found, read or built."""


class EncoderMismatchError(EncoderError):
    """Two encoder fingerprints met that must never mix."""


class NonFiniteEmbeddingError(EncoderError):
    """An encoder gave NaN or inf."""


class TrainingError(PinembedError):
    """Fine-tuning or alignment cannot start, or had to stop."""


class GateError(PinembedError):
    """The gate kept the champion."""

    exit_code = 4


class EngineError(PinembedError):
    """The cluster that encodes cannot be reached, or its workers die."""


class TableError(PinembedError):
    """An embedding table cannot be opened, read or written."""


class TableLockedError(TableError):
    """Another run holds the table."""

    exit_code = 5


class GenerationError(PinembedError):
    """A home folder or one of its generations is missing, damaged or edited."""


class HomeLockedError(PinembedError):
    """Another refresh works in the home folder."""

    exit_code = 5


class ConfigError(PinembedError):
    """A CONFIG file has a key or a value that cannot be meant."""

    exit_code = 2


class OutOfTimeError(PinembedError):
    """A refresh came to the end of its time between two steps; what was done is kept for the next run."""

    exit_code = 6


class CheckError(PinembedError):
    """A new generation failed a check and does not serve."""

    exit_code = 7


class SourceError(PinembedError):
    """An embedding source is missing, damaged or of another format."""


class StoreError(PinembedError):
    """An object store does not answer, forbids, or cannot do what is needed."""


class MissingObjectError(StoreError):
    """There is no object at an address."""


class ObjectChangedError(StoreError):
    """An object has other bytes than when it was listed."""


class LeaseLostError(TableError):
    """Another run took over the table, because this one did not renew its lease in time."""

    exit_code = 5


class UnknownItemError(PinembedError):
    """An item id is in neither the table nor the source."""


class ModelError(PinembedError):
    """A multimodal model folder is not what trim, align or ask can use."""


class ServerError(PinembedError):
    """A chat server is not there, refuses what it is sent, or breaks off."""


class OutputExistsError(PinembedError):
    """The output folder exists, or holds files that pinembed did not write."""


class OutputError(PinembedError):
    """The output cannot be written: disk full, no permission, a file where a folder should be."""


class MissingExtraError(PinembedError):
    """A feature needs an optional extra that is not installed.

    Args:
        feature: what the user asked for, as the start of a sentence.
        extra: name of the extra in pyproject.toml.
        package: the module that could not be imported.
    """

    def __init__(self, feature: str, *, extra: str, package: str) -> None:
        super().__init__(
            f"{feature} needs the package {package}, which is not installed.",
            remedy=f'Run: pip install "pinembed[{extra}]"',
        )
        self.extra = extra


class InstallationError(PinembedError):
    """Installed packages do not work together, e.g. a torch build beside a foreign torchvision."""


class StoppedError(PinembedError):
    """SIGINT or SIGTERM ended the run between two whole steps.

    Args:
        signum: the signal's number; the exit code is 128 + signum.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(
            "Stopped by the user." if signum == 2 else f"Stopped by signal {signum}.",
            remedy="What was committed is whole; run the same command again to go on.",
        )
        self.exit_code = 128 + signum
