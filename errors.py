"""The errors a user can cause. Each message says what came, what was expected, and what to do."""

__all__ = [
    "DivergedError",
    "FileError",
    "FingerprintError",
    "InputError",
    "LostProcessError",
    "MissingPackageError",
    "ThalwegError",
]


class ThalwegError(Exception):
    """Base of every error that the command line reports as one paragraph instead of a traceback."""


class InputError(ThalwegError, ValueError):
    """A value from the user is wrong: a shape, a dtype, a tag, a name, a configuration entry."""


class FingerprintError(ThalwegError, ValueError):
    """Two files belong to different discretizations: the same numbers would mean different functions."""


class FileError(ThalwegError, OSError):
    """A file is missing, truncated, corrupt, or cannot be written."""


class DivergedError(ThalwegError, ArithmeticError):
    """A solver or a training run left the finite numbers."""


class MissingPackageError(ThalwegError, ImportError):
    """An optional package is needed for what was asked; the message names the command that installs it."""


class LostProcessError(ThalwegError, RuntimeError):
    """A process that trained together with this one is gone."""
