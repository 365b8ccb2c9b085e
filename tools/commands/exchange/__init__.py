"""`tally officer`, from the delivery on: use, consent, correction, incidents, tasks."""
