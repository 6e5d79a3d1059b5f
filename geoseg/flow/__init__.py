"""What a command does, from files to results: the one place where all other packages meet."""
