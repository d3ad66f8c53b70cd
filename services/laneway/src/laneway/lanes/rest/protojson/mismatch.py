"""A JSON value that does not fit, and where."""


class Mismatch(Exception):
    """Raised where a value does not fit; each decoder that it passes on its way out adds its step to the path."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why
        self._steps: list[str] = []

    def under(self, step: str) -> "Mismatch":
        """The same, inside a field (`lines`), an element (`[3]`) or a map's entry (`["de"]`)."""
        self._steps.append(step)
        return self

    @property
    def path(self) -> str:
        """`lines[3].quantity`, by the names that the sender used; empty for the value itself."""
        path = ""
        for step in reversed(self._steps):
            path += step if step.startswith("[") or not path else f".{step}"
        return path
