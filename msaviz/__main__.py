"""`python -m msaviz …` is `msaviz …`."""

from msaviz.app.cli import main

if __name__ == "__main__":
    main()
