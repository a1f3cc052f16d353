"""Evaluate short formulas in LaTeX or plain text.

Two formulas with variables count as equal if their values are equal at a few points. Every step has
a bound, for any input.
"""

import cmath
import re
from collections.abc import Callable, Mapping

from moa_graph.errors import MoAError

_MAX_CHARS, _MAX_DEPTH, _MAX_EXPONENT = 400, 30, 64
_SYMBOL = re.compile(r"\\[A-Za-z]+|\d+\.?\d*|\.\d+|[A-Za-z]|[-+*/^(){}!|\[\]]")
_NAMES = {"\\pi": cmath.pi, "e": cmath.e, "i": 1j}
_FUNCTIONS: Mapping[str, Callable[[complex], complex]] = {
    "\\sin": cmath.sin,
    "\\cos": cmath.cos,
    "\\tan": cmath.tan,
    "\\ln": cmath.log,
    "\\log": cmath.log10,
    "\\exp": cmath.exp,
}
_OPENING, _CLOSING = {"(": ")", "{": "}", "[": "]"}, {")", "}", "]"}
_TIMES = {"*", "\\cdot", "\\times"}


class NoValueError(MoAError, ValueError):
    """The value of a formula cannot be computed."""


def evaluate(formula: str, letters: Mapping[str, complex]) -> complex:
    r"""Compute the value of a formula.

    Args:
        formula: Sums, products, quotients, powers, roots, `\frac`, a few functions.
        letters: Values of the variables.

    Raises:
        NoValueError: If the value cannot be computed.
    """
    if len(formula) > _MAX_CHARS:
        raise NoValueError("too long")
    plain = formula.replace(" ", "")
    symbols = _SYMBOL.findall(plain)
    if not symbols or "".join(symbols) != plain:
        raise NoValueError("not a formula")
    parser = _Parser(symbols, {**letters, **_NAMES})
    try:
        value = parser.read_sum(0)
    except (ArithmeticError, ValueError, OverflowError) as error:
        raise NoValueError(str(error)) from None
    if parser.rest or cmath.isnan(value) or cmath.isinf(value):
        raise NoValueError("not a formula")
    return value


class _Parser:
    """Parses a formula from left to right."""

    def __init__(self, symbols: list[str], names: Mapping[str, complex]) -> None:
        self._symbols, self._place, self._names = symbols, 0, names

    @property
    def rest(self) -> list[str]:
        return self._symbols[self._place :]

    def _peek(self) -> str:
        return self._symbols[self._place] if self._place < len(self._symbols) else ""

    def _take(self) -> str:
        self._place += 1
        return self._symbols[self._place - 1] if self._place <= len(self._symbols) else ""

    def read_sum(self, depth: int) -> complex:
        if depth > _MAX_DEPTH:
            raise NoValueError("too deep")
        sign = -1 if self._peek() == "-" else 1
        if self._peek() in {"-", "+"}:
            self._take()
        value = sign * self._read_product(depth)
        while self._peek() in {"+", "-"}:
            sign = 1 if self._take() == "+" else -1
            value += sign * self._read_product(depth)
        return value

    def _read_product(self, depth: int) -> complex:
        value = self._read_power(depth)
        while (symbol := self._peek()) and symbol not in _CLOSING and symbol not in {"+", "-", "|"}:
            if symbol == "/":
                self._take()
                value /= self._read_power(depth)
            else:
                if symbol in _TIMES:
                    self._take()
                value *= self._read_power(depth)
        return value

    def _read_power(self, depth: int) -> complex:
        base = self._read_atom(depth)
        while self._peek() == "!":
            self._take()
            base = _factorial(base)
        if self._peek() != "^":
            return base
        self._take()
        exponent = self._read_argument(depth)
        if abs(exponent) > _MAX_EXPONENT:
            raise NoValueError("the exponent is too large")
        return complex(base**exponent)

    def _read_atom(self, depth: int) -> complex:
        symbol = self._take()
        if symbol in _OPENING:
            return self._read_group(symbol, depth)
        if symbol == "|":
            return self._read_absolute(depth)
        if symbol.startswith("\\") and symbol not in self._names:
            return self._read_command(symbol, depth)
        return self._read_name(symbol)

    def _read_command(self, symbol: str, depth: int) -> complex:
        if symbol == "\\frac":
            above = self._read_argument(depth)
            return above / self._read_argument(depth)
        if symbol == "\\sqrt":
            return self._read_root(depth)
        if symbol in _FUNCTIONS:
            return _FUNCTIONS[symbol](self._read_power(depth + 1))
        raise NoValueError(f"{symbol!r} has no value")

    def _read_absolute(self, depth: int) -> complex:
        value = abs(self.read_sum(depth + 1))
        if self._take() != "|":
            raise NoValueError("a bracket is not closed")
        return complex(value)

    def _read_name(self, symbol: str) -> complex:
        if symbol[:1].isdigit() or symbol[:1] == ".":
            return complex(float(symbol))
        if symbol in self._names:
            return complex(self._names[symbol])
        raise NoValueError(f"{symbol!r} has no value")

    def _read_argument(self, depth: int) -> complex:
        """Parse the argument of a command: a group, a digit or a letter."""
        symbol = self._peek()
        if symbol[:1].isdigit() and len(symbol) > 1:
            self._symbols[self._place : self._place + 1] = [symbol[0], symbol[1:]]
        if symbol == "-":
            self._take()
            return -self._read_argument(depth)
        return self._read_atom(depth + 1)

    def _read_group(self, opening: str, depth: int) -> complex:
        value = self.read_sum(depth + 1)
        if self._take() != _OPENING[opening]:
            raise NoValueError("a bracket is not closed")
        return value

    def _read_root(self, depth: int) -> complex:
        degree = complex(2)
        if self._peek() == "[":
            self._take()
            degree = self._read_group("[", depth)
        value = self._read_argument(depth)
        if value.imag == 0 and value.real < 0 and degree.real % 2 == 1:
            return complex(-((-value.real) ** (1 / degree.real)))
        return complex(value ** (1 / degree))


def _factorial(value: complex) -> complex:
    number = round(value.real)
    if value.imag or abs(value.real - number) > 0 or not 0 <= number <= _MAX_EXPONENT:
        raise NoValueError("no factorial")
    product = 1
    for factor in range(2, number + 1):
        product *= factor
    return complex(product)
