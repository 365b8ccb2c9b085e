"""The validator and observer node: consensus, links, storage driver, HTTP."""
