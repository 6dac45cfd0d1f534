"""The steps of a walk: each is told when it is done, and the first that fails ends the program."""

import sys
from collections.abc import Callable


class Difference(Exception):
    """Something is not as it should be. It is named, and never shown: it may be a secret."""


def differ(**as_it_should: bool) -> None:
    for what, holds in as_it_should.items():
        if not holds:
            raise Difference(f"not as it should be: {what.replace('_', ' ')}")


class Walk:
    def __init__(self, vault_url: str) -> None:
        self.vault_url = vault_url
        self.passed = 0

    def step(self, name: str, do: Callable[[], None]) -> None:
        try:
            do()
        except Exception as error:
            sys.exit(f"FAIL {name}: {type(error).__name__}: {error}")
        self.passed += 1
        print(f"ok  {name}", flush=True)

    def lacks(self, name: str, why: str) -> None:
        """Says that the SDK has nothing for a step."""
        print(f"--  {name}: {why}", flush=True)
