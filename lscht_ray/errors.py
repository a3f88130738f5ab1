"""What a user can cause: these end a door with one message and no traceback. Anything else is a bug and shows one."""


class InputError(ValueError):
    """Something that the user gave can't be used. The message says what was given, what is allowed, what to type."""

    exit_code = 2


class TrainingError(InputError):
    """A run that started well can't go on (a loss that is not finite, no readable clip)."""

    exit_code = 1


class OutOfMemoryError(TrainingError):
    """There is no memory for so many clips at a time; there may be for fewer."""

    def __init__(self, message: str, clips_at_once: int) -> None:
        super().__init__(message)
        self.clips_at_once = clips_at_once

    def __reduce__(self) -> tuple[type, tuple[str, int]]:
        return OutOfMemoryError, (str(self), self.clips_at_once)
