"""`python -m node.diagnosis --config node.toml`: what keeps a node from starting, as JSON."""

import argparse
import json
import sys
import time
from pathlib import Path

from contracts.words import LANGUAGES
from node.diagnosis.offline import diagnose_offline
from node.diagnosis.words import describe


def main() -> int:
    """Print the findings; the exit code says only that they could be made."""
    parser = argparse.ArgumentParser(prog="python -m node.diagnosis", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="path of node.toml")
    parser.add_argument("--lang", choices=LANGUAGES, default="en", help="language of the texts")
    arguments = parser.parse_args()
    findings = diagnose_offline(arguments.config, wall_ms=time.time_ns() // 1_000_000)
    rows = []
    for finding in findings:
        words = describe(finding, arguments.lang)
        rows.append(
            {
                "code": finding.code,
                "severity": finding.severity.word,
                "title": words.title,
                "detail": words.detail,
                "advice": words.advice,
            }
        )
    sys.stdout.write(json.dumps({"findings": rows}, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
