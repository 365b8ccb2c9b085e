"""`tally keys`: make keys, look at them, protect, succeed, back up and restore them."""

import os
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click
import msgspec

from ledger.custody.keystore import Algorithm
from ledger.keys import SEED_BYTES, SecretKey, Signer, fingerprint, format_public_key
from tools.custody.keyfiles import (
    check_free,
    format_plain,
    open_key_file,
    read_key_file,
    seal,
    write_private,
)
from tools.custody.passphrase import Ways, new_passphrase, passphrase_options
from tools.custody.signer import KeyInfo, describe_key, is_token, open_signer
from tools.exits import InvalidInput, InvalidUsage, ToolError
from tools.mirror import read_genesis
from tools.options import WordGroup, common, option
from tools.output import emit, format_table, note, printable, run
from tools.words import catalogue, language, say

LISTED_MAX = 1_000
KEY_CHARS_SHOWN = 80
WALKED_MAX = 20_000
_FILE = click.Path(path_type=Path, dir_okay=False)
_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.group(cls=WordGroup, help="help.keys")
def command() -> None:
    """Group."""


def _plain_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return option("--plain", is_flag=True, help="option.plain")(function)


def _new_phrase_option(function: Callable[..., Any]) -> Callable[..., Any]:
    decorate = option("--new-passphrase-file", type=_FILE, help="option.new_passphrase_file")
    return decorate(function)


@command.command("generate", help="help.keys_generate")
@click.argument("path")
@option("--encryption", is_flag=True, help="option.encryption")
@_plain_option
@passphrase_options
@common
def generate(path: str, encryption: bool, plain: bool, ways: Ways, as_json: bool) -> None:
    """Make a new key: a keystore, a plain file, or a key on a token."""
    if is_token(path) and encryption:
        raise InvalidInput("token-encryption", path)
    if is_token(path):
        from tools.custody.token import generate_on_token

        public = generate_on_token(path, ways)
        info = KeyInfo(
            reference=path,
            kind="token",
            public_key=format_public_key(public),
            fingerprint=fingerprint(public),
            is_protected=True,
        )
        _show(info, as_json)
        return
    check_free(Path(path))
    algorithm: Algorithm = "mlkem768-x25519" if encryption else "ed25519"
    secret = os.urandom(SEED_BYTES)
    write_private(Path(path), _content(secret, path, plain, ways, algorithm=algorithm))
    _show(describe_key(path), as_json)


def _content(
    secret: bytes, label: str, plain: bool, ways: Ways, *, algorithm: Algorithm = "ed25519"
) -> bytes:
    """Content of the file of a key: sealed, unless it is to be plain."""
    if plain:
        note(say("custody.plain_warning"))
        return format_plain(secret, algorithm)
    return seal(secret, algorithm, new_passphrase(ways, label))


@command.command("show", help="help.keys_show")
@click.argument("path")
@common
def show(path: str, as_json: bool) -> None:
    """Show the public half of a key; needs no pass phrase."""
    _show(describe_key(path), as_json)


def _document(info: KeyInfo) -> dict[str, Any]:
    return {
        "path": info.reference,
        "kind": info.kind,
        "protected": info.is_protected,
        "public_key": info.public_key,
        "fingerprint": info.fingerprint,
    }


def _show(info: KeyInfo, as_json: bool) -> None:
    lines = (
        _shorten(info.public_key),
        f"{say('word.fingerprint')} {info.fingerprint}",
        say(f"custody.kind_{info.kind}"),
    )
    emit(as_json, _document(info), "\n".join(lines))


def _shorten(public_key: str) -> str:
    """A public key that fits a line; whole encryption keys are for files."""
    if len(public_key) <= KEY_CHARS_SHOWN:
        return public_key
    return f"{public_key[:KEY_CHARS_SHOWN]}..."


@command.command("list", help="help.keys_list")
@click.argument("directory", type=_FOLDER, default=Path())
@option("--url", help="option.keys_url")
@option("--genesis", type=_FILE, help="option.genesis")
@common
def list_(directory: Path, url: str | None, genesis: Path | None, as_json: bool) -> None:
    """Show every key file below a folder, and what a network says of these keys."""
    if not directory.is_dir():
        raise InvalidInput("folder-not-found", str(directory))
    if (url is None) is not (genesis is None):
        raise InvalidUsage("usage-invalid", "--url, --genesis")
    rows = list(islice(_find_keys(directory), LISTED_MAX))
    if url is not None and genesis is not None:
        rows = _with_standings(rows, url, genesis)
    names = ("path", "key_kind", "fingerprint", "mode", "public_key")
    told = ("member", "state", "not_after") if url is not None else ()
    head = [say(f"column.{name}") for name in (*names[:-1], *told, names[-1])]
    cells = [
        [
            row["path"],
            say(f"custody.kind_{row['kind']}"),
            row["fingerprint"],
            row["mode"] + ("" if row["private"] else " !"),
            *_tell_standing(row),
            _shorten(row["public_key"]),
        ]
        for row in rows
    ]
    text = format_table(head, cells) if rows else say("custody.no_keys", directory=directory)
    if not all(row["private"] for row in rows):
        text += "\n" + say("custody.not_private")
    emit(as_json, {"keys": rows}, text)


def _with_standings(rows: list[dict[str, Any]], url: str, genesis: Path) -> list[dict[str, Any]]:
    """Rows with what the network of a node says of their keys."""
    from tools.client import Client
    from tools.commands.governance.standings import NOT_ON_THE_LEDGER, Standing, fetch_standings

    async def fetch() -> dict[str, Standing]:
        async with Client(url, read_genesis(genesis)) as client:
            return await fetch_standings(client)

    known = run(fetch())
    return [
        row
        | msgspec.to_builtins(
            known.get(row["public_key"]) or known.get(row["fingerprint"]) or NOT_ON_THE_LEDGER
        )
        for row in rows
    ]


def _tell_standing(row: dict[str, Any]) -> list[str]:
    """Cells of what the network says of a key; none if it was not asked."""
    if "state" not in row:
        return []
    words = catalogue(language())
    state = words.get(f"standing.{row['state']}", printable(row["state"]))
    return [printable(row["member"]) or "-", state, printable(row["not_after"]) or "-"]


def _find_keys(directory: Path) -> Iterator[dict[str, Any]]:
    """Key files, damaged ones too. Links are not followed."""
    marks = (
        b"tallystick-secret-key-",
        b"tallystick-decryption-key-",
        b'{\n  "format": "tallystick-keystore-',
        b"-----BEGIN PRIV",
    )
    for path in sorted(islice(directory.rglob("*"), WALKED_MAX)):
        try:
            if path.is_symlink() or not path.is_file():
                continue
            with path.open("rb") as file:
                if not file.read(64).startswith(marks):
                    continue
            mode = path.stat().st_mode & 0o7777
        except OSError:
            continue  # what cannot be read is not ours
        row: dict[str, Any] = {
            "path": str(path),
            "kind": "damaged",
            "protected": False,
            "public_key": "",
            "fingerprint": "",
            "mode": f"{mode:04o}",
            "private": not mode & 0o077,
        }
        try:
            found = read_key_file(path, must_be_private=False)
        except ToolError:
            yield row
            continue
        yield row | {
            "kind": found.kind,
            "protected": found.is_protected,
            "public_key": found.public_key,
            "fingerprint": found.fingerprint,
        }


@command.command("export-public", help="help.keys_export")
@click.argument("path")
@click.argument("file", type=_FILE)
@common
def export_public(path: str, file: Path, as_json: bool) -> None:
    """Write a file for others: the public key and its fingerprint."""
    info = describe_key(path)
    document = {
        "format": "tallystick-public-key-v1",
        "public_key": info.public_key,
        "fingerprint": info.fingerprint,
    }
    check_free(file)
    file.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
    emit(as_json, {**document, "file": str(file)}, say("custody.exported", file=file))


@command.command("change-passphrase", help="help.keys_change")
@click.argument("path", type=_FILE)
@_new_phrase_option
@passphrase_options
@common
def change_passphrase(
    path: Path, new_passphrase_file: Path | None, ways: Ways, as_json: bool
) -> None:
    """Encrypt a key anew; a plain key file or a TLS key in PEM becomes a keystore."""
    file = read_key_file(path)
    secret = open_key_file(file, ways)
    phrase = new_passphrase(Ways(file=new_passphrase_file), str(path))
    write_private(path, seal(secret, file.algorithm, phrase), replace=True)
    _show(describe_key(str(path)), as_json)


@command.command("rotate", help="help.keys_rotate")
@click.argument("path")
@option("--genesis", type=_FILE, required=True, help="option.genesis")
@option("--member", required=True, help="option.member")
@option("--new", help="option.new_key")
@option("--rotation", type=_FILE, help="option.rotation")
@_plain_option
@_new_phrase_option
@passphrase_options
@common
def rotate(
    path: str,
    genesis: Path,
    member: str,
    new: str | None,
    rotation: Path | None,
    plain: bool,
    new_passphrase_file: Path | None,
    ways: Ways,
    as_json: bool,
) -> None:
    """Make the successor of a key, and the statement that both sign."""
    from ledger.custody.rotation import encode_rotation_json, sign_rotation
    from ledger.errors import InvalidRotation
    from ledger.genesis import hash_genesis
    from tools.mirror import read_genesis

    if is_token(path) and (new is None or rotation is None):
        raise InvalidInput("rotation-incomplete", "--new, --rotation")
    successor = new or str(_beside(Path(path), "next"))
    statement = rotation or _beside(Path(path), "rotation").with_suffix(".json")
    check_free(statement)
    if not is_token(successor):
        check_free(Path(successor))
    network = hash_genesis(read_genesis(genesis))
    old_info = describe_key(path)
    note(
        say(
            "custody.rotating",
            member=member,
            network=network.hex(),
            fingerprint=old_info.fingerprint,
        )
    )
    old = open_signer(path, ways)
    new_signer, content = _successor(successor, plain, Ways(file=new_passphrase_file))
    try:
        signed = sign_rotation(old, new_signer, network=network, member=member)
    except InvalidRotation as error:
        raise InvalidInput("rotation-invalid", str(error)) from None
    # The key first: the statement must never name a key that nobody has.
    if content is not None:
        write_private(Path(successor), content)
    write_private(statement, encode_rotation_json(signed))
    new_public = format_public_key(new_signer.public)
    document = {
        "old_key": old_info.public_key,
        "new_key": new_public,
        "path": successor,
        "rotation": str(statement),
    }
    text = say("custody.rotated", new_key=new_public, path=successor, rotation=statement)
    emit(as_json, document, text)


def _beside(path: Path, word: str) -> Path:
    return path.with_name(f"{path.stem}.{word}{path.suffix or '.key'}")


def _successor(reference: str, plain: bool, ways: Ways) -> tuple[Signer, bytes | None]:
    """The signer of a new key and the content of its file, or of a key that is on a token."""
    if is_token(reference):
        return open_signer(reference, ways), None
    seed = os.urandom(SEED_BYTES)
    return SecretKey(seed), _content(seed, reference, plain, ways)


@command.command("backup", help="help.keys_backup")
@click.argument("path", type=_FILE)
@option("--shares", type=click.IntRange(2, 16), required=True, help="option.shares")
@option("--threshold", type=click.IntRange(2, 16), required=True, help="option.share_threshold")
@option("--out", type=_FOLDER, required=True, help="option.shares_out")
@passphrase_options
@common
def backup(path: Path, shares: int, threshold: int, out: Path, ways: Ways, as_json: bool) -> None:
    """Split a key into shares, one file each."""
    from tools.custody.shares import split_secret

    if threshold > shares:
        raise InvalidInput("shares-count", f"{threshold} > {shares}")
    file = read_key_file(path)
    files = [out / f"{file.fingerprint}-share-{number:02d}.txt" for number in range(1, shares + 1)]
    for each in files:
        if each.exists():
            raise InvalidInput("file-exists", str(each))
    secret = open_key_file(file, ways)
    texts = split_secret(secret, file.algorithm, threshold=threshold, shares=shares)
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    for each, text in zip(files, texts, strict=True):
        write_private(each, text.encode())
    document = {
        "public_key": file.public_key,
        "threshold": threshold,
        "files": [str(each) for each in files],
    }
    text = say("custody.backed_up", threshold=threshold, shares=shares, directory=out)
    emit(as_json, document, text)


@command.command("restore", help="help.keys_restore")
@click.argument("path", type=_FILE)
@click.argument("shares", type=_FILE, nargs=-1, required=True)
@_plain_option
@passphrase_options
@common
def restore(path: Path, shares: tuple[Path, ...], plain: bool, ways: Ways, as_json: bool) -> None:
    """Make a key file of shares."""
    from tools.custody.shares import SHARE_BYTES_MAX, combine_shares, parse_share
    from tools.founding import read_file

    check_free(path)
    parsed = [
        parse_share(read_file(share, size_bytes_max=SHARE_BYTES_MAX), str(share))
        for share in shares
    ]
    secret = combine_shares(parsed)
    algorithm = parsed[0].algorithm
    if plain:
        note(say("custody.plain_warning"))
        write_private(path, format_plain(secret, algorithm))
    else:
        write_private(path, seal(secret, algorithm, new_passphrase(ways, str(path))))
    _show(describe_key(str(path)), as_json)


@command.command("hsm", help="help.keys_hsm")
@option("--module", help="option.module")
@common
def hsm(module: str | None, as_json: bool) -> None:
    """List the keys on tokens in reach."""
    from tools.custody.token import list_tokens

    rows = [
        {
            "uri": str(uri),
            "public_key": format_public_key(public),
            "fingerprint": fingerprint(public),
        }
        for uri, public in list_tokens(module)
    ]
    head = [say(f"column.{name}") for name in ("fingerprint", "uri")]
    text = format_table(head, [[row["fingerprint"], row["uri"]] for row in rows])
    emit(as_json, {"keys": rows}, text if rows else say("custody.no_token_keys"))
