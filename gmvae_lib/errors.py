"""The one exception for bad input, and what a missing optional package is reported as."""

from contextlib import contextmanager


class InputError(ValueError):
    """Bad input: one line that names the file or argument, what was found, and what was expected.

    The command line prints it as it is and exits with code 2.
    """


@contextmanager
def needs_extra(what, extra):
    """Report a package that an import inside does not find as one that an extra installs.

    what : the data set, method or command that needs it. extra : "study", "book" or "dev".
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = error.name.partition(".")[0]
        raise InputError(
            f"{what}: found no package {package!r}; expected it installed "
            f"(pip install {package}, or gmvae_lib[{extra}] for all that the study uses)"
        ) from None
