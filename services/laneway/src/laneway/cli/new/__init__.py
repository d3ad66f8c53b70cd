"""`laneway new`: what a service consists of before anybody has written a word of it. Knows the repository's layout."""
