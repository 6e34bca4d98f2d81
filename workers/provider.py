"""The fault of an execution provider. Separate from runtime, so that a process without models can report it, too."""


class ProviderUnavailable(Exception):
    """CUDA was asked for and does not work here"""

    def __init__(self, reason: str) -> None:
        super().__init__(f"{type(self).__doc__}: {reason}. Or set MEDQUEUE_ALLOW_CPU=1 to run on the CPU.")
