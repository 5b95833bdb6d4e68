"""Values of observations: a number with its unit, or a text."""

from __future__ import annotations

from dataclasses import dataclass

from ehrdb.events.fhir.codes import Vocabularies
from ehrdb.events.fhir.models import CodeableConcept, Measured, Quantity, Range, Ratio

_UCUM = "http://unitsofmeasure.org"


@dataclass(frozen=True)
class Value:
    """What was measured. A number is kept as its digits; one with a comparator is a text (`<5`)."""

    number: str | None = None
    text: str | None = None
    unit: str | None = None


NOTHING = Value()


def value_of(measured: Measured, vocabularies: Vocabularies) -> Value:
    """The value of an observation or a component; an interpretation (positive) stands for one where there is none."""
    if measured.valueQuantity is not None and measured.valueQuantity.value is not None:
        return _of_quantity(measured.valueQuantity)
    if measured.valueInteger is not None:
        return Value(str(measured.valueInteger))
    if measured.valueRange is not None:
        return _of_range(measured.valueRange)
    text = _text_of(measured, vocabularies) or names_of(measured.interpretation, vocabularies)
    return Value(text=text) if text else NOTHING


def names_of(concepts: list[CodeableConcept] | None, vocabularies: Vocabularies) -> str | None:
    """Concepts in words; None without any."""
    return "; ".join(filter(None, (vocabularies.name_of(concept) for concept in concepts or ()))) or None


def written(quantity: Quantity | None) -> str | None:
    """A quantity in words: <5 mg."""
    if quantity is None or quantity.value is None:
        return None
    return " ".join(filter(None, (f"{quantity.comparator or ''}{_digits(quantity.value)}", _unit(quantity))))


def _of_quantity(quantity: Quantity) -> Value:
    assert quantity.value is not None
    digits = _digits(quantity.value)
    if quantity.comparator:
        return Value(text=quantity.comparator + digits, unit=_unit(quantity))
    return Value(digits, unit=_unit(quantity))


def _of_range(span: Range) -> Value:
    low, high = (end.value if end is not None else None for end in (span.low, span.high))
    unit = next((_unit(end) for end in (span.low, span.high) if end is not None), None)
    if low is not None and high is not None:
        return Value(text=f"{_digits(low)}-{_digits(high)}", unit=unit)
    if low is None and high is None:
        return NOTHING
    return Value(text=f">={_digits(low)}" if low is not None else f"<={_digits(high or 0)}", unit=unit)


def _text_of(measured: Measured, vocabularies: Vocabularies) -> str | None:
    if measured.valueCodeableConcept is not None:
        return vocabularies.name_of(measured.valueCodeableConcept)
    if measured.valueBoolean is not None:
        return "true" if measured.valueBoolean else "false"
    if measured.valueRatio is not None:
        return _of_ratio(measured.valueRatio)
    if measured.valuePeriod is not None:
        return f"{measured.valuePeriod.start or ''}/{measured.valuePeriod.end or ''}"
    return measured.valueString or measured.valueDateTime or measured.valueTime


def _of_ratio(ratio: Ratio) -> str | None:
    parts = written(ratio.numerator), written(ratio.denominator)
    return ":".join(part or "" for part in parts) if any(parts) else None


def _unit(quantity: Quantity) -> str | None:
    """The code of UCUM, else the unit as it is written."""
    if quantity.system == _UCUM and quantity.code:
        return quantity.code
    return quantity.unit or quantity.code


def _digits(number: float) -> str:
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)
