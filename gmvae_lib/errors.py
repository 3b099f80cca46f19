"""The one exception for bad input, and how other exceptions are reported."""

from contextlib import contextmanager


class InputError(ValueError):
    """Bad input: one line that names the file or argument, what was found, and what was expected.

    The command line prints it as it is and exits with code 2.
    """


def one_line(error, most=200) -> str:
    """An exception's message on one line of at most ``most`` characters; its type if it has none.

    Examples
    --------
    >>> one_line(ValueError("two\\n  lines"))
    'two lines'
    """
    return " ".join(str(error).split())[:most] or type(error).__name__


@contextmanager
def needs_extra(what, extra):
    """Report a package that an import inside does not find as one that an extra installs.

    what : the data set, method or command that needs it. extra : of pyproject.toml, like "study".
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or str(error)).partition(".")[0]
        raise InputError(
            f"{what}: found no package {package!r}; expected it installed "
            f"(pip install {package}, or gmvae_lib[{extra}])"
        ) from None
