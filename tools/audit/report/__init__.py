"""The evaluation report: what is measured on the way through a log, and the page that shows it."""
