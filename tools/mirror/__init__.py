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
    event_map,
    folder_reader,
    read_epochs,
    read_genesis,
    worker_context,
    worker_pool,
    write_epochs,
)
from tools.mirror.shown import copy_at, mirror_log, mirror_shown

__all__ = [
    "FILE_BYTES_MAX",
    "Mirror",
    "copy_at",
    "event_map",
    "folder_reader",
    "mirror_log",
    "mirror_shown",
    "read_epochs",
    "read_genesis",
    "worker_context",
    "worker_pool",
    "write_epochs",
]
