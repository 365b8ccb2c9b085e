"""Policy sets that are not in force yet: checked, tried on cases, compared, asked about the past."""
