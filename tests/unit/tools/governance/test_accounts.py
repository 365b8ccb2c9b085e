"""Who did what: roles, standing and contract set of each height, and the life of each key."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ledger.errors import Divergence
from ledger.governance.actions import AddOfficer, OfficerKey, RevokeOfficer, SetRoles, prove_key
from ledger.keys import SecretKey, fingerprint, format_public_key
from tests import builders
from tests.unit.contracts.test_replay import add_executed
from tests.unit.ledger.builders import ChainBuilder, make_copy
from tools.cli import main
from tools.commands.governance.who import parse_subject
from tools.exits import ERROR, NOT_FOUND, OK, UNVERIFIED, InvalidInput
from tools.governance.accounts import Account, Subject, account_for

VOTERS = builders.VALIDATORS
MEMBER = VOTERS[3]
OLD = builders.key_of(MEMBER, "admin")
NEW = SecretKey(builders.hash32("successor"))
