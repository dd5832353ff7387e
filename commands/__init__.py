"""What each verb of the command line does, one module a verb; ``__main__`` turns arguments into their configurations."""
