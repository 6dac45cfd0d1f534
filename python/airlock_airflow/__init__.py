"""Airlock for Apache Airflow: connections and variables from Azure Key Vault, through a local agent.

``airlock_airflow.AirlockBackend`` is the secrets backend; name it in ``[secrets] backend``. Airflow's own modules are
imported when the class is first asked for, so that the ``airlock`` command works, and starts fast, without them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airlock_airflow.errors import AirlockError

if TYPE_CHECKING:
    from airlock_airflow.backend import AirlockBackend

__all__ = ["AirlockBackend", "AirlockError"]


def __getattr__(name: str) -> Any:
    if name == "AirlockBackend":
        # Airflow's own import makes the configured backend. It has to come first: in the middle of our module's import,
        # it would find the module without its class.
        try:
            import airflow  # noqa: F401
        except ImportError:
            pass  # backend.py says what is missing

        from airlock_airflow.backend import AirlockBackend

        return AirlockBackend
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
