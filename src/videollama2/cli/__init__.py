"""The command line. Files here import nothing heavy: models are loaded inside the commands."""
