"""One exchange as one file for a court: everything that proves it, and how to check it."""
