"""Sub-commands of `tally`; each module is imported when its command is used, not before."""
