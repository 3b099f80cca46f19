"""A few seeded tries of the fuzzer on every parser, and that it detects a fault."""

import fuzz
import pytest

TRIES = 12
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def targets():
    return {target.name: target for target in fuzz.targets()}


def test_every_parser_reads_its_samples_and_survives_damage(targets, tmp_path):
    for target in targets.values():
        for sample in target.samples:
            assert fuzz.outcome(target, sample, tmp_path) == ("read", ""), target.name
        for number in range(TRIES):
            data = fuzz.damaged(target, 7, number)
            result, message = fuzz.outcome(target, data, tmp_path)
            assert result in ("read", "refused"), (target.name, number, message)


def test_damage_is_seeded_and_reaches_behind_checksums(targets):
    target = targets["NPZ"]
    tries = [fuzz.damaged(target, 7, number) for number in range(TRIES)]
    assert tries == [fuzz.damaged(target, 7, number) for number in range(TRIES)]
    assert len(set(tries)) > TRIES // 2


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("x"), "faults"),
        (MemoryError(), "faults"),
        (fuzz.InputError("no file named"), "faults"),
        (fuzz.InputError("{folder}/a: two\nlines"), "faults"),
        (fuzz.InputError("{folder}/a: found x, expected y"), "refused"),
        (None, "read"),
    ],
)
def test_it_knows_a_fault(tmp_path, error, expected):
    def read(folder, data):
        if error is not None:
            raise type(error)(*(text.format(folder=folder) for text in error.args))

    assert fuzz.outcome(fuzz.Target("x", [b""], read), b"", tmp_path)[0] == expected
