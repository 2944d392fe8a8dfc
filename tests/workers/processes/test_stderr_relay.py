"""Standard error of a child is relayed, and its last line is kept."""

import subprocess
import sys

import pytest

from workers.processes.stderr_relay import MAX_BYTES, OutputForwarder


@pytest.mark.parametrize(
    ("program", "passed_on", "last"),
    [
        ("print('one\\ntwo', file=sys.stderr)", "one\ntwo\n", "two"),
        ("sys.stderr.write('half a line')", "half a line\n", "half a line"),
        ("sys.stderr.buffer.write(b'bad \\xff byte\\n\\n')", "bad � byte\n\n", "bad � byte"),
        ("pass", "", ""),
    ],
    ids=["lines", "cut", "no text", "silent"],
)
def test_child_output_is_relayed(program: str, passed_on: str, last: str, capsys: pytest.CaptureFixture[str]) -> None:
    with subprocess.Popen([sys.executable, "-c", f"import sys; {program}"], stderr=subprocess.PIPE, bufsize=0) as child:
        relay = OutputForwarder(child)
        relay.forward()
        child.wait(timeout=60)

        assert relay.close() == last
    assert capsys.readouterr().err == passed_on


def test_a_line_without_newline_is_relayed_in_pieces(capsys: pytest.CaptureFixture[str]) -> None:
    size = 3 * MAX_BYTES
    program = f"import sys; sys.stderr.write('x' * {size})"
    with subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, bufsize=0) as child:
        relay = OutputForwarder(child)
        while child.poll() is None:
            relay.forward()
        relay.close()

    assert capsys.readouterr().err.count("x") == size
