"""`python -m hrlaif`, the same as the command `hrlaif`."""

from hrlaif.cli import main

if __name__ == "__main__":
    main()
