"""The answer for people: a table and a sentence in the terminal, and one page."""
