"""The secrets backend that Airflow loads."""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from typing import TYPE_CHECKING, Any, Callable, Mapping

from airlock_airflow import place
from airlock_airflow.agent import Agent, timeout
from airlock_airflow.errors import AirlockError, UnusableId
from airlock_airflow.wire import Connection, Tcp

try:
    from airflow.secrets import BaseSecretsBackend
except ImportError:
    try:
        from airflow.sdk.bases.secrets_backend import BaseSecretsBackend  # a worker with the Task SDK alone
    except ImportError as err:
        raise ImportError(
            "airlock_airflow.AirlockBackend needs Apache Airflow 2.10 or newer in the same environment, "
            f"and importing airflow.secrets failed: {err}"
        ) from err

if TYPE_CHECKING:
    # Not Airflow's Connection: which class it is depends on the process that asks.
    AirflowConnection = Any

log = logging.getLogger(__name__)


class _Absent:
    """The value of a keyword argument that was not given. None cannot be it: a prefix of None means "never ask"."""

    def __repr__(self) -> str:
        return "<not given>"


_ABSENT: Any = _Absent()

ON_ERROR = ("fall_through", "stop")

# The agent's and the command line's word for one of a collection.
_KIND = {"connections": "connection", "variables": "variable", "config": "config"}

# Causes that were already told, and when, for the whole process: Airflow may make a new backend for each lookup.
_told: dict[tuple[str, ...], float] = {}
_TELL_AGAIN = 3600.0  # seconds; a scheduler lives for weeks, and the outage of today is not the one of last month
_MAX_TOLD = 256


class AirlockBackend(BaseSecretsBackend):
    """Reads connections, variables and config values from Azure Key Vault through the local Airlock agent.

    The keyword arguments of ``AzureKeyVaultBackend`` have the same names, order and meaning here; they are handed to
    the agent, which checks them, and so are names that are unknown to this class. Making a backend touches neither network
    nor disk. The agent for exactly this configuration is found, or else started, at the first lookup.

    :param connections_prefix: prefix of connections; default "airflow-connections". None: connections are never looked
        up. "": no prefix.
    :param variables_prefix: the same for variables; default "airflow-variables".
    :param config_prefix: the same for Airflow's own options; default "airflow-config".
    :param vault_url: the vault's URL, such as "https://example.vault.azure.net/".
    :param sep: what joins prefix and id, and replaces "_"; default "-".
    :param tenant_id, client_id, client_secret: a service principal; all three or none.
    :param managed_identity_client_id, workload_identity_tenant_id: a managed identity.
    :param cache_ttl: how long the agent answers from its cache without asking the vault; default 5 minutes.
    :param max_stale: how long the last value serves while the vault cannot be reached; default 12 hours.
    :param negative_ttl: how long the agent remembers that a secret is missing; default 60 seconds.
    :param agent_socket: the socket of an agent that somebody else runs; none is ever started then. Default: the
        environment variable AIRLOCK_AGENT_SOCKET.
    :param agent_url: the address of such an agent on this machine's loopback, such as "http://127.0.0.1:8130", for
        containers that cannot share a socket; with agent_token_file. Default: the environment variable
        AIRLOCK_AGENT_URL. One of the two, socket or URL.
    :param agent_token_file: the file with what that agent wants to be shown. Default: the environment variable
        AIRLOCK_AGENT_TOKEN_FILE.
    :param agent_binary: the airlock program to start. Default: the environment variable AIRLOCK_BINARY, then the
        package's own, then PATH.
    :param on_error: what a lookup does when it gets no answer (access refused, vault or agent out of reach).
        "fall_through", the default: it warns once for each cause, and Airflow asks its next source. "stop": it raises
        AirflowSecretsBackendAccessDenied, which ends the search, or AirlockError where Airflow has no such class. A
        config value is never skipped: Airflow would go on with a default database. Other values raise ValueError.
    """

    def __init__(
        self,
        connections_prefix: str | None = _ABSENT,
        variables_prefix: str | None = _ABSENT,
        config_prefix: str | None = _ABSENT,
        vault_url: str = _ABSENT,
        sep: str = _ABSENT,
        *,
        tenant_id: str = _ABSENT,
        client_id: str = _ABSENT,
        client_secret: str = _ABSENT,
        managed_identity_client_id: str = _ABSENT,
        workload_identity_tenant_id: str = _ABSENT,
        cache_ttl: str | float = _ABSENT,
        max_stale: str | float = _ABSENT,
        negative_ttl: str | float = _ABSENT,
        agent_socket: str = "",
        agent_url: str = "",
        agent_token_file: str = "",
        agent_binary: str = "",
        on_error: str = "fall_through",
        **kwargs: Any,
    ) -> None:
        super().__init__()
        if on_error not in ON_ERROR:
            raise ValueError(f"on_error is {on_error!r}; it can be one of: {', '.join(ON_ERROR)}")
        named = {
            "connections_prefix": connections_prefix,
            "variables_prefix": variables_prefix,
            "config_prefix": config_prefix,
            "vault_url": vault_url,
            "sep": sep,
            "tenant_id": tenant_id,
            "client_id": client_id,
            "client_secret": client_secret,
            "managed_identity_client_id": managed_identity_client_id,
            "workload_identity_tenant_id": workload_identity_tenant_id,
            "cache_ttl": cache_ttl,
            "max_stale": max_stale,
            "negative_ttl": negative_ttl,
        }
        self._given = {name: value for name, value in named.items() if value is not _ABSENT}
        self._given.update(kwargs)
        self._skipped = {
            collection
            for collection, prefix in (
                ("connections", connections_prefix),
                ("variables", variables_prefix),
                ("config", config_prefix),
            )
            if prefix is None
        }
        self._agent_socket = agent_socket
        self._agent_url = agent_url
        self._agent_token_file = agent_token_file
        self._agent_binary = agent_binary
        self._on_error = on_error
        self._agent: Agent | None = None

    def get_conn_value(self, conn_id: str, team_name: str | None = None) -> str | None:
        """The connection as its vault holds it, a URI or JSON; None when no vault has it."""
        return self._get("connections", conn_id, team_name)

    def get_variable(self, key: str, team_name: str | None = None) -> str | None:
        """The variable's value, which may be empty; None when no vault has it."""
        return self._get("variables", key, team_name)

    def get_config(self, key: str) -> str | None:
        """The value for an option that Airflow's configuration names by ``<option>_secret``; None when no vault has it.

        Raises AirlockError when there is no answer to be had, whatever on_error says.
        """
        return self._get("config", key, None)

    async def aget_connection(self, conn_id: str, team_name: str | None = None) -> AirflowConnection | None:
        """get_connection for a coroutine: the lookup runs in a thread, and the event loop goes on."""
        import asyncio

        if team_name is None:  # Airflow before 3.2 knows no teams
            return await asyncio.to_thread(self.get_connection, conn_id)
        return await asyncio.to_thread(self.get_connection, conn_id, team_name)

    async def aget_variable(self, key: str, team_name: str | None = None) -> str | None:
        """get_variable for a coroutine: the lookup runs in a thread, and the event loop goes on."""
        import asyncio

        return await asyncio.to_thread(self.get_variable, key, team_name)

    def _get(self, collection: str, name: str, team: str | None) -> str | None:
        if collection in self._skipped:
            return None
        try:
            if self._agent is None:
                self._agent = self._find_agent()
            value = self._agent.get(collection, name, team)
        except UnusableId as err:
            reason = _without_subject(str(err), collection, name)
            _tell(("id", collection, name), "airlock: no vault can hold %s %r: %s", _KIND[collection], name, reason)
            return None
        except AirlockError as err:
            if collection == "config":
                raise
            if self._on_error == "stop":
                raise _ending_the_search(err) from err
            reason = _without_subject(str(err), collection, name)
            went_on = "airlock: %s %r was not read, Airflow asks its next source: %s"
            _tell(_cause(err.kind, reason, name), went_on, _KIND[collection], name, reason)
            return None
        if value is None:
            log.debug("airlock: no vault has %s %r", _KIND[collection], name)
        return value

    def _find_agent(self) -> Agent:
        environ = dict(os.environ)
        seconds = timeout(environ)
        socket, url = self._agent_socket, self._agent_url
        if not socket and not url:
            socket, url = environ.get("AIRLOCK_AGENT_SOCKET", ""), environ.get("AIRLOCK_AGENT_URL", "")
        if socket and url:
            raise AirlockError(
                "usage",
                "the agent is named twice, by socket and by URL",
                ["take one out: agent_socket or AIRLOCK_AGENT_SOCKET, agent_url or AIRLOCK_AGENT_URL"],
            )
        if url:
            token_file = self._agent_token_file or environ.get("AIRLOCK_AGENT_TOKEN_FILE", "")
            if not token_file:
                raise AirlockError("usage", "agent_url wants agent_token_file", ["set AIRLOCK_AGENT_TOKEN_FILE"])
            return Agent(_address(url), seconds, token_file=token_file)
        if socket:
            return Agent(place.checked_length(socket), seconds)
        config = dict(self._given)
        if not config:
            _check_lost_kwargs(environ)
        if _multi_team(environ):
            config["multi_team"] = True
        path = place.socket_path(config, environ)

        def start(connect: Callable[[], Connection], deadline: float) -> Connection:
            from airlock_airflow.start import Starter  # most processes find their agent running

            starter = Starter(path=path, config=config, agent_binary=self._agent_binary, environ=environ)
            return starter.start(connect, deadline)

        return Agent(path, seconds, start)


def _address(url: str) -> Tcp:
    """The address in an agent's URL. Raises AirlockError; the text is not repeated, for it may hold a password."""
    found = re.fullmatch(r"http://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):([0-9]{1,5})/?", url)
    if found is None or not 0 < int(found[2]) < 65536:
        raise AirlockError("usage", "agent_url is not the URL of an agent", ["for example http://127.0.0.1:8130"])
    return Tcp(found[1].strip("[]"), int(found[2]))


def _ending_the_search(err: AirlockError) -> Exception:
    """The exception that keeps Airflow from asking its next source."""
    try:
        from airflow.sdk.exceptions import AirflowSecretsBackendAccessDenied  # Airflow 3.2.2 and newer
    except ImportError:
        return err
    denied: Exception = AirflowSecretsBackendAccessDenied(str(err))
    return denied


def _without_subject(message: str, collection: str, name: str) -> str:
    """The message without the agent's words for what was asked, where a sentence says that already."""
    return message.removeprefix(f'{_KIND[collection]} "{name}": ')


def _cause(kind: str, reason: str, name: str) -> tuple[str, ...]:
    """What a failure is about apart from the id that was asked for, as Airflow and as Key Vault writes it."""
    spellings = "|".join(re.escape(spelling) for spelling in (name, name.replace("_", "-")))
    return ("cause", kind, re.sub(rf"(?<!\w)(?:{spellings})(?!\w)", "*", reason))


def _tell(cause: tuple[str, ...], message: str, *args: object) -> None:
    """Warns, unless the same was said before; then it is only for those who debug."""
    now = time.monotonic()
    said = _told.get(cause)
    if said is not None and now - said < _TELL_AGAIN:
        log.debug(message, *args)
        return
    if len(_told) >= _MAX_TOLD:
        _told.clear()
    _told[cause] = now
    log.warning(message, *args)


def _multi_team(environ: Mapping[str, str]) -> bool:
    """Whether [core] multi_team is on.

    Only modules that are loaded are asked: a config lookup comes while Airflow's configuration is still being read, and
    importing it from here would go round in a circle. The environment variable is then the best answer, and for a
    config lookup it does not matter, since it knows no teams.
    """
    for module in ("airflow.configuration", "airflow.sdk.configuration"):
        conf = getattr(sys.modules.get(module), "conf", None)
        if conf is not None:
            return bool(conf.getboolean("core", "multi_team", fallback=False))
    return environ.get("AIRFLOW__CORE__MULTI_TEAM", "").lower() in ("true", "t", "1")


def _check_lost_kwargs(environ: Mapping[str, str]) -> None:
    """Finds out why there are no keyword arguments at all: Airflow drops broken JSON, with a warning easily lost.

    Raises AirlockError with the place of the mistake, never the text around it, which may be a client secret.
    """
    import json

    for name in ("AIRFLOW__WORKERS__SECRETS_BACKEND_KWARGS", "AIRFLOW__SECRETS__BACKEND_KWARGS"):
        where = ""
        try:
            is_object = isinstance(json.loads(environ.get(name, "").strip() or "{}"), dict)
            what = "is not a JSON object"
        except json.JSONDecodeError as err:
            is_object, what = False, "is not JSON"
            where = f", line {err.lineno} column {err.colno}: {err.msg.partition(':')[0]}"
        if not is_object:
            raise AirlockError(
                "usage",
                f"{name} {what}{where}",
                ["in a .env file write the JSON on one line, with double quotes inside and none around it"],
            )
