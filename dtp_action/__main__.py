"""`python -m dtp_action`: the program from its files, where nothing was built or installed."""

from dtp_action.cli import main

main()
