"""The XML Schema that an operator supplies: a folder whose files are pinned by their digests.

The schemas of the OECD are not ours to hand out. `manifest.toml` in the folder says which file is
the root and what SHA-256 each file has; it is written once, by a person who has compared the files
with those that the OECD publishes, and may stand on the ledger. A file that is missing, changed or
not listed is refused by its name, and so is everything that a schema would fetch from elsewhere.

    root = "CrsXML_v2.0.xsd"

    [files]
    "CrsXML_v2.0.xsd" = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
"""

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lxml import etree

from node.crs.errors import InvalidDocument, InvalidSchemaFolder
from node.crs.guard import Limits, check_pieces

MANIFEST = "manifest.toml"
FILES_MAX = 32
_FILE_BYTES_MAX = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """A compiled schema; `digest` is that of the manifest's content, for reports."""

    compiled: etree.XMLSchema
    digest: str


def load_schema(folder: Path) -> Schema:
    """Read, compare and compile a schema folder. Raises `InvalidSchemaFolder`."""
    root, digests = _read_manifest(folder)
    texts = {name: _read_pinned(folder, name, digest) for name, digest in digests.items()}
    pinned = _Pinned(texts)
    try:
        tree = etree.fromstring(texts[root], make_parser(resolver=pinned), base_url=root)
        compiled = etree.XMLSchema(tree)
    except (etree.XMLSchemaParseError, etree.XMLSyntaxError) as error:
        pinned.check()
        # The message speaks of the schema, never of data.
        raise InvalidSchemaFolder("xsd-invalid", f"{root}: {error}") from None
    pinned.check()
    return Schema(compiled=compiled, digest=_hash_manifest(root, digests))


def pin_folder(folder: Path, root: str) -> str:
    """The manifest of a folder as it is now, as text. Raises `InvalidSchemaFolder`."""
    names = sorted(path.name for path in folder.glob("*.xsd"))
    if root not in names:
        raise InvalidSchemaFolder("xsd-missing", root)
    if len(names) > FILES_MAX:
        raise InvalidSchemaFolder("xsd-many", str(FILES_MAX))
    lines = [
        f'"{name}" = "{hashlib.sha256((folder / name).read_bytes()).hexdigest()}"' for name in names
    ]
    return "\n".join([f'root = "{root}"', "", "[files]", *lines, ""])


def make_parser(*, resolver: etree.Resolver | None = None) -> etree.XMLParser:
    """A parser that expands nothing, fetches nothing and keeps its own bounds."""
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False,
        remove_comments=True, remove_pis=True,
    )  # fmt: skip
    if resolver is not None:
        parser.resolvers.add(resolver)
    return parser


class _Pinned(etree.Resolver):  # type: ignore[misc]  # lxml has no types
    """Hands out listed files by their names, whatever folder a schema names them in."""

    def __init__(self, texts: Mapping[str, bytes]) -> None:
        super().__init__()
        self._texts = texts
        self._unlisted: list[str] = []

    def check(self) -> None:
        """Raise `InvalidSchemaFolder` for what was asked for; the library swallows our errors."""
        for name in self._unlisted:
            raise InvalidSchemaFolder("xsd-unlisted", name)

    def resolve(self, system_url: str, public_id: str | None, context: Any) -> Any:
        del public_id
        name = system_url.rpartition("/")[2]
        if name not in self._texts:
            self._unlisted.append(name)
            return self.resolve_empty(context)
        return self.resolve_string(self._texts[name], context, base_url=name)


def _read_manifest(folder: Path) -> tuple[str, dict[str, str]]:
    try:
        document = tomllib.loads((folder / MANIFEST).read_text("utf-8"))
    except FileNotFoundError:
        raise InvalidSchemaFolder("xsd-manifest-missing", MANIFEST) from None
    except (OSError, ValueError):
        raise InvalidSchemaFolder("xsd-manifest-invalid", MANIFEST) from None
    root, files = document.get("root"), document.get("files")
    is_right = (
        document.keys() == {"root", "files"}
        and isinstance(files, dict)
        and 0 < len(files) <= FILES_MAX
        and root in files
        and all(_is_entry(name, digest) for name, digest in files.items())
    )
    if not is_right:
        raise InvalidSchemaFolder("xsd-manifest-invalid", MANIFEST)
    assert isinstance(root, str)
    assert isinstance(files, dict)
    return root, files


def _is_entry(name: str, digest: object) -> bool:
    return "/" not in name and name.endswith(".xsd") and isinstance(digest, str)


def _read_pinned(folder: Path, name: str, digest: str) -> bytes:
    try:
        with (folder / name).open("rb") as file:
            data = file.read(_FILE_BYTES_MAX + 1)
    except OSError:
        raise InvalidSchemaFolder("xsd-missing", name) from None
    found = hashlib.sha256(data).hexdigest()
    if found != digest:
        raise InvalidSchemaFolder("xsd-changed", f"{name}: {found}, pinned {digest}")
    try:
        check_pieces((data,), Limits(size_bytes_max=_FILE_BYTES_MAX))
    except InvalidDocument as error:
        raise InvalidSchemaFolder(error.code, f"{name}, {error.detail}") from None
    return data


def _hash_manifest(root: str, digests: Mapping[str, str]) -> str:
    lines = [root, *(f"{name} {digests[name]}" for name in sorted(digests))]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
