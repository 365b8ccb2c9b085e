"""A copy of a log in a folder: the C2SP tlog-tiles files, downloaded and verified.

    DIR/genesis.json   DIR/genesis.signatures.json
    DIR/checkpoint   DIR/policy   DIR/tile/...   DIR/epochs/0 ...

`epochs/<n>` is the proof that ended epoch n; `policy` judges the checkpoint beside it, for tools
that know nothing of epochs. The files are static: any web server that has them is a mirror. A file
is written when it is verified, whole, and the checkpoint last, so a broken download is resumed.

    DIR/pruned.json     which entries are in archive files only (`tools.mirror.pruned`)
    DIR/alarm-*.json    proof that the log was forked (`tools.audit.alarms`)
"""

from tools.mirror.folder import (
    FILE_BYTES_MAX,
    Mirror,
    check_writable,
    event_map,
    folder_reader,
    new_file,
    read_epochs,
    read_genesis,
    write_epochs,
)
from tools.mirror.holding import held, make_workers, worker_context
from tools.mirror.shown import copy_at, mirror_log, mirror_shown

__all__ = [
    "FILE_BYTES_MAX",
    "Mirror",
    "check_writable",
    "copy_at",
    "event_map",
    "folder_reader",
    "held",
    "make_workers",
    "mirror_log",
    "mirror_shown",
    "new_file",
    "read_epochs",
    "read_genesis",
    "worker_context",
    "write_epochs",
]
