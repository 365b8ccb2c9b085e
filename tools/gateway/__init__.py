"""Gateways of agencies, as people set them up and talk to them.

| module    | what it holds                                                             |
|-----------|---------------------------------------------------------------------------|
| `making`  | keys and configuration of a new gateway, and what the members vote on     |
| `local`   | gateways of a network on this machine                                     |
| `socket`  | the own gateway's socket                                                  |
| `codes`   | status codes in words                                                     |
| `story`   | the part of the demonstration in which data travels                       |
"""
