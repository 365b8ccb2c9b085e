"""Requests made up from `/openapi.json` against a served node."""
