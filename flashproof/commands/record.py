"""``flashproof record``: check a signed record of a decision, as a server would, or make the keys for signing them.

``verify`` ends with 0 for a record that fits and 3 for anything else, whatever its verdict: it asks whether the record
is genuine, not whether the face was live. With ``--json`` it prints the record or ``{"error": …}``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sdk_reference.errors import FlashproofError

if TYPE_CHECKING:
    from sdk_reference.decision_record import DecisionRecord

record = typer.Typer(
    name="record", help="Check signed records of decisions, and make keys for signing them.", no_args_is_help=True
)


@record.command()
def verify(
    file: Annotated[Path, typer.Argument(help="A signed record.", show_default=False)],
    key: Annotated[Path, typer.Option(metavar="PUB.pem", help="The signer's public key.", show_default=False)],
    nonce: Annotated[
        str | None,
        typer.Option(metavar="HEX", help="The challenge that the record must answer.", show_default=False),
    ] = None,
    max_age: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Refuse decisions older than this.", min=0, show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check that a record is signed by this key, unchanged, and answers this challenge."""
    try:
        found = read_record(file, key, nonce, max_age)
    except FlashproofError as error:
        if not as_json:
            raise
        print(json.dumps({"error": {**error.to_dict(), "message": str(error)}}, ensure_ascii=False))
        raise typer.Exit(error.exit_status) from None
    print(found.canonical_json() if as_json else summary(found, nonce))


@record.command("new-key")
def new_key(
    out: Annotated[Path, typer.Argument(help="New file for the private key, e.g. signing.pem.", show_default=False)],
) -> None:
    """Make an Ed25519 key: the private half for the signer alone, the public half for whoever checks."""
    from sdk_reference import signing_keys

    public = signing_keys.new_key(out)
    print(f"private key: {out} (keep it secret; only you can read it)\npublic key:  {public}")


def read_record(file: Path, key: Path, nonce: str | None, max_age_s: float | None) -> DecisionRecord:
    """Read and check a signed record. Raises KeyRefused and RecordRefused."""
    from sdk_reference.record_signature import read_signed, verify
    from sdk_reference.signing_keys import load_public_key

    return verify(read_signed(file), load_public_key(key), nonce, max_age_s=max_age_s)


def summary(found: DecisionRecord, nonce: str | None) -> str:
    """The record in a few lines, with what was not checked."""
    lines = [
        "genuine: signed by this key and unchanged; its plan follows from its nonce",
        f"verdict: {found.verdict}" + (f" ({', '.join(found.reasons)})" if found.reasons else ""),
        f"score {found.score or 'none'}, threshold {found.threshold}, {found.bundle.name} {found.bundle.version}",
        f"decided {found.decided_at}, attempt {found.attempt}, profile {found.profile}",
        f"nonce {found.nonce}" + ("" if nonce else " (not compared: give --nonce)"),
        "not proven: that a camera saw this person; see docs/records.md",
    ]
    return "\n".join(lines)
