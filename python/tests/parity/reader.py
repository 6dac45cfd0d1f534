"""Real Airflow reads connections: each line of standard input is a JSON list of requests, each of output one of answers.

A request is {"read": TEXT}, answered by what airflow.models.Connection ("core") and airflow.sdk.Connection ("sdk") make of a
secret's content, or {"id": TEXT}, answered by {"kept": sanitize_conn_id(TEXT), "imports": BOOL}. The first line of output
tells what the tables in Go are checked against.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import unicodedata
from typing import Any

from airflow._shared.secrets_masker import secrets_masker
from airflow.models.connection import Connection as CoreConnection
from airflow.models.connection import sanitize_conn_id
from airflow.sdk.definitions.connection import Connection as SdkConnection
from airflow.secrets import BaseSecretsBackend
from airflow.utils.helpers import validate_key

FIELDS = ("conn_type", "description", "host", "login", "password", "schema", "port", "extra")


def backend(connection: type) -> BaseSecretsBackend:
    made = BaseSecretsBackend()
    made._set_connection_class(connection)
    return made


BACKENDS = {"core": backend(CoreConnection), "sdk": backend(SdkConnection)}


def attempt(function: Any) -> dict[str, Any]:
    """What the function gives, or the class of its error: the text may hold the secret."""
    try:
        return {"value": function()}
    except Exception as err:
        return {"error": type(err).__name__}


def plain_text(value: Any) -> bool:
    """Whether it is no text with half of a surrogate pair, which Go cannot hold."""
    try:
        return not isinstance(value, str) or value.encode() is not None
    except UnicodeEncodeError:
        return False


def reading(name: str, text: str) -> dict[str, Any]:
    try:
        connection = BACKENDS[name].deserialize_connection(conn_id="parity", value=text)
        fields = {field: getattr(connection, field) for field in FIELDS}
    except Exception as err:
        return {"error": type(err).__name__}
    if (stripped := text.strip()).startswith("{") and not all(map(plain_text, json.loads(stripped).values())):
        return {"odd": "surrogate"}
    port = fields["port"]
    if port is not None and not (type(port) is int and -(2**63) <= port < 2**63):
        return {"odd": "port"}
    for field, value in fields.items():
        if field != "port" and not isinstance(value, (str, type(None))):
            return {"odd": "type"}
        if not plain_text(value):
            return {"odd": "surrogate"}
    return {"fields": fields, "uri": attempt(connection.get_uri), "json": attempt(connection.as_json)}


def answer(request: dict[str, str]) -> dict[str, Any]:
    if "id" in request:
        kept = sanitize_conn_id(request["id"])
        return {"kept": kept, "imports": "error" not in attempt(lambda: validate_key(request["id"], max_length=200))}
    # Each password is remembered by the masker, in one ever longer regular expression.
    for masker in MASKERS:
        masker.reset_masker()
    return {name: reading(name, request["read"]) for name in BACKENDS}


def delimiters() -> str:
    """The characters that urlsplit refuses before a path: their compatibility form holds a delimiter."""
    every = (chr(code) for code in range(128, sys.maxunicode + 1) if not 0xD800 <= code < 0xE000)
    return "".join(c for c in every if set("/?#@:") & set(unicodedata.normalize("NFKC", c)))


if __name__ == "__main__":
    from airflow.sdk._shared.secrets_masker import secrets_masker as sdk_secrets_masker

    MASKERS = [module._secrets_masker() for module in (secrets_masker, sdk_secrets_masker)]
    logging.disable(logging.CRITICAL)
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what Airflow prints is no answer
    print(json.dumps({"delimiters": delimiters()}), file=out, flush=True)
    for line in sys.stdin:
        print(json.dumps([answer(request) for request in json.loads(line)]), file=out, flush=True)
