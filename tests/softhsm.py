"""A real PKCS#11 token for tests: SoftHSM2, in a folder of its own."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from ledger.keys import SecretKey
from tools.custody.token import MODULES

PIN = "493817"
MODULE = next((path for path in MODULES if "softhsm" in path and Path(path).is_file()), "")
WHY = (
    "the extra hsm is not installed (pip install tallystick[hsm])"
    if find_spec("pkcs11") is None
    else ""
    if MODULE and shutil.which("softhsm2-util")
    else "SoftHSM2 is not installed (apt-get install softhsm2)"
)
needs_token = pytest.mark.skipif(bool(WHY), reason=WHY)


@contextmanager
def fresh_token(folder: Path) -> Iterator[Path]:
    """A token named `tally`, found through the environment; its PIN is in the file `pin`."""
    import pkcs11

    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(
        f"directories.tokendir = {folder / 'tokens'}\n"
        "objectstore.backend = file\nlog.level = ERROR\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(folder / "softhsm2.conf"))
        patch.setenv("TALLYSTICK_PKCS11_MODULE", MODULE)
        init = ("softhsm2-util", "--init-token", "--free", "--label", "tally")
        pins = ("--so-pin", "87654321", "--pin", PIN)
        subprocess.run([*init, *pins], check=True, capture_output=True)
        (folder / "pin").write_text(PIN + "\n")
        (folder / "pin").chmod(0o600)
        yield folder
        pkcs11.unload(MODULE)


def put_on_token(label: str, key: SecretKey) -> None:
    """As an operator brings a key that is on the ledger already onto a token."""
    import pkcs11
    from pkcs11 import Attribute, KeyType, ObjectClass

    shared = {
        Attribute.KEY_TYPE: KeyType.EC_EDWARDS,
        Attribute.LABEL: label,
        Attribute.EC_PARAMS: bytes.fromhex("06032b6570"),
        Attribute.TOKEN: True,
    }
    point = b"\x04\x20" + key.public[1:]
    public = {Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.EC_POINT: point}
    private = {
        Attribute.CLASS: ObjectClass.PRIVATE_KEY,
        Attribute.VALUE: key.seed,
        Attribute.SENSITIVE: True,
        Attribute.EXTRACTABLE: False,
        Attribute.SIGN: True,
    }
    with pkcs11.lib(MODULE).get_token(token_label="tally").open(rw=True, user_pin=PIN) as session:
        session.create_object({**shared, **public})
        session.create_object({**shared, **private})
