"""`python -m pinembed` is the `pinembed` command."""

from pinembed.cli.main import main

if __name__ == "__main__":
    main()
