"""`tally audit mirror`, `archive`, `restore`, `watch`, `alarm` and `witness`."""
