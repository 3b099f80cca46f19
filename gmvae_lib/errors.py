"""The one exception for bad input."""


class InputError(ValueError):
    """Bad input: one line that names the file or argument, what was found, and what was expected.

    The command line prints it as it is and exits with code 2.
    """
