"""Work on data, in child processes of the gateway: what hangs, crashes or eats memory is one task.

| module    | what it holds                                                          |
|-----------|------------------------------------------------------------------------|
| `tasks`   | tasks and their results, as they pass between the processes            |
| `pool`    | the parent's side: children, limits of time, restarts                  |
| `child`   | the child's side: one task after the other                             |
| `prepare` | connector -> pipeline -> sealed file                                   |
| `check`   | sealed file -> opened, committed to, validated; what it is rejected for |
| `hand`    | sealed file -> receiver                                                |
"""
