"""The table that is printed: one line for each thing that was looked at."""

from engine import Failed


class Table:
    def __init__(self):
        self.passed = 0
        self.failed = 0
        self.not_run = 0

    def title(self, text):
        print(f"\n{text}", flush=True)

    def row(self, verdict, what, seen):
        print(f"  {verdict:<9}{what:<38}{seen}", flush=True)

    def check(self, what, look):
        """`look` gives what was seen, or raises."""
        try:
            seen = look()
        except (Failed, OSError, KeyError, ValueError) as error:
            self.failed += 1
            self.row("FAIL", what, f"{type(error).__name__}: {error}")
            return False
        self.passed += 1
        self.row("ok", what, seen)
        return True

    def skip(self, what, why):
        self.not_run += 1
        self.row("not run", what, why)


def expect(seen, wanted):
    """What was seen, in words, if it is what was wanted."""
    if seen != wanted:
        raise Failed(f"seen {seen!r}, expected {wanted!r}")
    return " ".join(map(str, seen)) if isinstance(seen, (list, tuple)) else str(seen)
