"""`tally audit mirror`, `replay`, `segment`, `merge`, `archive`, `restore`, `watch`, `witness`."""
