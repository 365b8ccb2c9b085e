"""Drafts of policy sets: checked, tried on cases, compared, asked about the past."""
