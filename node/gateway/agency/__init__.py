"""The gateway towards its own agency: what officers and systems hand in, and when.

| module     | what it holds                                                            |
|------------|--------------------------------------------------------------------------|
| `asking`   | requests and offers: signed, kept, submitted                              |
| `local`    | the socket for the agency's own systems and for `tally gateway`          |
| `drop`     | the folder into which systems put requests and offers as files           |
| `schedule` | automatic exchange by the calendar                                       |
"""
