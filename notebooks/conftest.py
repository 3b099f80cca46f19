"""`pytest --nbval` compares numbers within the tolerance stated in tools/compare_outputs.py.

Pictures are not compared: nbval leaves out PNG and JPEG, this file SVG as well.
"""

from compare_outputs import difference


class TolerantText(str):
    """The text of an output, equal to another whose numbers agree with its own."""

    __hash__ = None  # texts that are equal need not be alike

    def __eq__(self, other):
        return difference(self, other) is None

    def __ne__(self, other):
        return not self == other


def pytest_configure(config):
    if not config.pluginmanager.hasplugin("nbval"):
        return
    from nbval.plugin import IPyNbCell, IPyNbFile

    sanitized, explain = IPyNbCell.sanitize, IPyNbCell.format_output_compare

    def sanitize(cell, output):  # whatever nbval compares passes through here
        text = sanitized(cell, output)
        return TolerantText(text) if isinstance(text, str) else text

    def format_output_compare(cell, key, left, right):
        if isinstance(left, str) and isinstance(right, str):
            cell.comparison_traceback.append(f"{key}: {difference(left, right)}")
        explain(cell, key, left, right)

    start = IPyNbFile.__init__

    def without_pictures(file, *args, **kwargs):
        start(file, *args, **kwargs)
        file.skip_compare = (*file.skip_compare, "image/svg+xml")

    IPyNbCell.sanitize, IPyNbCell.format_output_compare = sanitize, format_output_compare
    IPyNbFile.__init__ = without_pictures
