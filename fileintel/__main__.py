"""`python -m fileintel`: the command line without the console script, so that it runs without a PATH."""

from fileintel.cli import main

main()
