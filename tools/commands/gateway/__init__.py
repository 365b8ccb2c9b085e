"""`tally gateway`: the gateway of the own agency, made, run and asked over its socket."""
