"""HTTP interface over the `node.service.Service` port: parse, ask the node, answer in one shape."""
