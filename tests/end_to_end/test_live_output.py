"""Live output that comes faster than it is read."""

from projects import Harness, eventually

FLOOD = """
    import os, pathlib, sys, time
    for _ in range(20_000):
        sys.stdout.write(f"{7:0999}\\n")
    sys.stdout.flush()
    pathlib.Path("flooded").touch()
    while len(sys.argv) > 1 and not os.path.exists(sys.argv[1]):
        print("still here", flush=True)
        time.sleep(0.02)
"""
LEFT_OUT = "not shown here, but in the log: too much at once"


def flood(harness: Harness, *words: str) -> None:
    harness.write("flood.py", FLOOD)
    harness.plan(f"""
        [[phases]]
        name = "p"
        [[phases.groups]]
        name = "g"
        command = "python3 flood.py {" ".join(words)}"
    """)


def test_nobody_waits_and_what_is_left_out_is_told_at_the_end(harness: Harness) -> None:
    flood(harness)
    process = harness.start("test", "--verbose")
    eventually((harness.directory / "flooded").exists, "the end of a flood that nobody reads")
    ran = harness.finish(process)
    assert ran.code == 0
    assert ran.stdout.count(LEFT_OUT) == 1
    assert len(ran.files.group_log("g").read_bytes()) > 20_000_000


def test_once_it_is_read_what_comes_is_shown_again(harness: Harness) -> None:
    flood(harness, "seen")
    process = harness.start("test", "--verbose")
    eventually((harness.directory / "flooded").exists, "the end of a flood that nobody reads")
    assert process.stdout
    lines = iter(process.stdout.readline, "")
    assert any(LEFT_OUT in line for line in lines)
    assert any("still here" in line for line in lines)
    (harness.directory / "seen").touch()
    assert list(lines)[-1] == "✓ 1 group passed\n"
    assert harness.finish(process).code == 0
