"""The command `certwright`."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from certwright.audit import Verdict, verify, verify_archive
from certwright.auth import DEFAULT_TENANT, Tokens
from certwright.config import TALKATIVE, Settings
from certwright.errors import CertwrightError, NotFound
from certwright.local.app import open_store, open_table, utc_now
from certwright.model import Actor, Role

_SHORTEST_LIFE = 15
"""Seconds that a certificate of the test CA lasts at least: what is shorter is over before it can be renewed."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; what it refuses goes to standard error in one line, with exit code 1 (2 for wrong usage)."""
    options = _parser().parse_args(arguments)
    try:
        settings = Settings.read(os.environ, options.data_dir)
        _set_up_logging(settings.log_level)
        return int(options.run(settings, options))
    except CertwrightError as error:
        print(f"certwright: {error.message}", file=sys.stderr)
    except OSError as error:  # A folder that cannot be made, a file that cannot be written.
        print(f"certwright: {error}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("certwright", description="Certificates from any ACME certificate authority.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--data-dir", type=Path, help="folder of the database and keys")

    serve = commands.add_parser("serve", parents=[common], help="run the service on this machine")
    serve.add_argument("--host", default="127.0.0.1")
    serve.add_argument("--port", type=_port, default=8000)
    serve.add_argument("--test-ca", action="store_true", help="run a local test CA (Pebble) beside it")
    serve.add_argument("--test-ca-life", type=_life, metavar="SECONDS", help="how long its certificates last")
    serve.set_defaults(run=_serve)

    tokens = commands.add_parser("token", help="API tokens").add_subparsers(required=True, metavar="ACTION")
    create = tokens.add_parser("create", parents=[common], help="print a new token, this once")
    create.add_argument("--name", required=True)
    create.add_argument("--role", required=True, choices=[role.name.lower() for role in Role])
    create.add_argument("--tenant", default=DEFAULT_TENANT)
    create.set_defaults(run=_create_token)
    listing = tokens.add_parser("list", parents=[common], help="list the tokens")
    listing.add_argument("--tenant", default=DEFAULT_TENANT)
    listing.set_defaults(run=_list_tokens)
    revoke = tokens.add_parser("revoke", parents=[common], help="end a token for ever")
    revoke.add_argument("id")
    revoke.add_argument("--tenant", default=DEFAULT_TENANT)
    revoke.set_defaults(run=_revoke_token)

    _add_audit(
        commands.add_parser("audit", help="the audit trail").add_subparsers(required=True, metavar="ACTION"), common
    )

    export = commands.add_parser("export-schema", parents=[common], help="write the GraphQL schema")
    export.add_argument("--output", type=Path, default=Path("schema.graphql"))
    export.set_defaults(run=_export_schema)
    return parser


def _add_audit(audit: "argparse._SubParsersAction[argparse.ArgumentParser]", common: argparse.ArgumentParser) -> None:
    verify = audit.add_parser("verify", parents=[common], help="prove that the trail is whole")
    verify.add_argument("archive", nargs="?", help="s3://BUCKET/PREFIX: the archive there instead of the store")
    verify.set_defaults(run=_verify)
    reship = audit.add_parser("reship", parents=[common], help="on AWS: ship events of the store to the archive again")
    reship.add_argument("--since", type=_time, required=True, help="such as 2026-11-23T18:00; UTC, or with its offset")
    reship.add_argument("--until", type=_time, help="up to now, if left out")
    reship.add_argument("--subject", help="id of an object: the events about that one only")
    reship.add_argument("--tenant", default=DEFAULT_TENANT)
    reship.add_argument("--log-group", required=True, help="the stack's AuditLogName")
    reship.add_argument("--delivery-stream", required=True, help="the stack's AuditStreamName")
    reship.set_defaults(run=_reship)


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; give one such as 2026-11-23T18:00") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _port(text: str) -> int:
    if not (text.isdecimal() and int(text) < 2**16):
        raise argparse.ArgumentTypeError(f"{text!r} is no port; give a number from 0 (any free one) to 65535")
    return int(text)


def _life(text: str) -> int:
    if not (text.isdecimal() and int(text) >= _SHORTEST_LIFE):
        raise argparse.ArgumentTypeError(f"{text!r} is no life; give {_SHORTEST_LIFE} seconds or more")
    return int(text)


def _serve(settings: Settings, options: argparse.Namespace) -> int:
    from certwright.local.server import serve

    return serve(settings, options.host, options.port, with_test_ca=options.test_ca, test_ca_life=options.test_ca_life)


def _tokens(settings: Settings) -> Tokens:
    return Tokens(open_store(open_table(settings, utc_now), utc_now), utc_now)


def _operator(tenant: str) -> Actor:
    return Actor("command line", Role.ADMIN, tenant)


def _create_token(settings: Settings, options: argparse.Namespace) -> int:
    _, text = _tokens(settings).create(options.name, Role[options.role.upper()], _operator(options.tenant))
    print(text)
    return 0


def _list_tokens(settings: Settings, options: argparse.Namespace) -> int:
    for token in _tokens(settings).list(options.tenant):
        state = f"revoked {token.revoked_at:%Y-%m-%d}" if token.revoked_at else "valid"
        print(f"{token.id}  {token.role.name.lower():8}  {token.created_at:%Y-%m-%d}  {state:18}  {token.name}")
    return 0


def _revoke_token(settings: Settings, options: argparse.Namespace) -> int:
    token = _tokens(settings).revoke(options.id, _operator(options.tenant))
    print(f"{token.id} ({token.name}) is revoked")
    return 0


def _verify(settings: Settings, options: argparse.Namespace) -> int:
    verdict = _verdict(settings, options.archive)
    for fault in verdict.faults:
        print(fault, file=sys.stderr)
    state = f"{len(verdict.faults)} faults" if verdict.faults else "whole"
    print(f"{verdict.records} records in {verdict.chains} chains: {state}")
    return 1 if verdict.faults else 0


def _verdict(settings: Settings, archive: str | None) -> Verdict:
    if archive is not None:
        from certwright.aws.audit_archive import read_bucket
        from certwright.aws.connect import client

        return verify_archive(read_bucket(client, archive))
    store = open_store(open_table(settings, utc_now), utc_now)
    if not store.tenants():
        raise NotFound(f"{settings.store} holds nothing yet, so there is nothing to verify; is it the right one?")
    return verify(store)


def _reship(settings: Settings, options: argparse.Namespace) -> int:
    from certwright.aws.audit_archive import Archive
    from certwright.aws.connect import Clients
    from certwright.aws.reship import reship

    clients, store = Clients(), open_store(open_table(settings, utc_now), utc_now)
    archive = Archive(clients("logs"), clients("firehose"), options.log_group, options.delivery_stream)
    until = options.until or utc_now()
    shipped = reship(
        store, archive.ship, tenant=options.tenant, since=options.since, until=until, subject_id=options.subject
    )
    print(f"{shipped} events were shipped")
    return 0


def _export_schema(_: Settings, options: argparse.Namespace) -> int:
    from certwright.api.schema import schema

    options.output.write_text(schema.as_str() + "\n")
    return 0


def _set_up_logging(level: str) -> None:
    logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
