"""Errors that a user can cause. They end a door with one message; any other error is a bug and shows a traceback."""


class InputError(ValueError):
    """Something that the user gave can't be used. The message says what was given, what is allowed and what to type.

    Attributes:
        exit_code: With which a door ends.
    """

    exit_code = 2


class TrainingError(InputError):
    """A run that has started can't go on: its loss is not finite, or no clip is readable."""

    exit_code = 1


class UnfitSettingsError(TrainingError):
    """A run can't go on for its settings, whatever machine it is on: it diverges, or not one clip fits."""


class OutOfMemoryError(TrainingError):
    """The memory does not hold that many clips at a time; it may hold fewer.

    Attributes:
        clips_at_once: Clips of the micro-batch that did not fit.
    """

    def __init__(self, message: str, clips_at_once: int) -> None:
        super().__init__(message)
        self.clips_at_once = clips_at_once

    def __reduce__(self) -> tuple[type, tuple[str, int]]:
        return OutOfMemoryError, (str(self), self.clips_at_once)
