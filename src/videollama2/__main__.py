"""`python -m videollama2`."""

from videollama2.cli.main import main

if __name__ == "__main__":
    main()
