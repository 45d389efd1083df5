"""`python -m homeostat.cli`: the same program, wherever the interpreter is."""

from homeostat.cli import main

if __name__ == "__main__":
    main()
