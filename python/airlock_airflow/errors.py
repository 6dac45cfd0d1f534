"""What can go wrong between Airflow and a secret, in words that are safe to log."""

from __future__ import annotations

from typing import Sequence


class AirlockError(RuntimeError):
    """A lookup that got no answer, with its reason and its remedy.

    ``kind`` is the agent's word for the sort of failure: ``forbidden``, ``unavailable``, ``usage`` or ``internal``.
    ``message`` says what failed and ``hints`` what to do next. They name places (a vault, a path, a setting) and never
    hold the value of a secret.
    """

    def __init__(self, kind: str, message: str, hints: Sequence[str] = ()) -> None:
        super().__init__(kind, message, tuple(hints))  # all of them, so that the error survives pickling
        self.kind = kind
        self.message = message
        self.hints = tuple(hints)

    def __str__(self) -> str:
        if not self.hints:
            return self.message
        return f"{self.message} (hint: {'; '.join(self.hints)})"


class UnusableId(AirlockError):
    """The agent's word that no vault can hold a secret for this id: the id is at fault, not the way to it."""
