"""FHIR's code systems under the names that OMOP's vocabularies have, and one code for each concept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ehrdb.errors import ConfigError, InputError
from ehrdb.events.fhir.models import CodeableConcept, Coding

LONGEST_CODE = 2000
"""Bytes of a code: what the server's index takes."""
_OID = "urn:oid:2.16.840.1.113883."
SYSTEMS = {
    "http://snomed.info/sct": "SNOMED",
    "http://loinc.org": "LOINC",
    "http://www.nlm.nih.gov/research/umls/rxnorm": "RxNorm",
    "http://hl7.org/fhir/sid/cvx": "CVX",
    "http://hl7.org/fhir/sid/icd-10-cm": "ICD10CM",
    "http://hl7.org/fhir/sid/icd-10": "ICD10",
    "http://hl7.org/fhir/sid/icd-10-pcs": "ICD10PCS",
    "http://www.cms.gov/Medicare/Coding/ICD10": "ICD10PCS",
    "http://hl7.org/fhir/sid/icd-9-cm": "ICD9CM",
    "http://hl7.org/fhir/sid/icd-9-cm/diagnosis": "ICD9CM",
    "http://hl7.org/fhir/sid/icd-9-cm/procedure": "ICD9Proc",
    "http://terminology.hl7.org/CodeSystem/icd9cm": "ICD9CM",
    "http://fhir.de/CodeSystem/bfarm/icd-10-gm": "ICD10GM",
    "http://fhir.de/CodeSystem/bfarm/ops": "OPS",
    "http://fhir.de/CodeSystem/bfarm/atc": "ATC",
    "http://www.whocc.no/atc": "ATC",
    "http://www.ama-assn.org/go/cpt": "CPT4",
    "https://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets": "HCPCS",
    "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets": "HCPCS",
    "http://www.nlm.nih.gov/research/umls/hcpcs": "HCPCS",
    "http://hl7.org/fhir/sid/ndc": "NDC",
    "http://www.ada.org/cdt": "CDT",
    "http://unitsofmeasure.org": "UCUM",
    f"{_OID}6.96": "SNOMED",
    f"{_OID}6.1": "LOINC",
    f"{_OID}6.88": "RxNorm",
    "urn:oid:2.16.840.1.113883.12.292": "CVX",
    f"{_OID}6.90": "ICD10CM",
    f"{_OID}6.3": "ICD10",
    f"{_OID}6.4": "ICD10PCS",
    f"{_OID}6.103": "ICD9CM",
    f"{_OID}6.104": "ICD9Proc",
    f"{_OID}6.12": "CPT4",
    f"{_OID}6.285": "HCPCS",
    f"{_OID}6.69": "NDC",
    f"{_OID}6.73": "ATC",
}
"""The names of OMOP's vocabularies, by FHIR's URIs and by OIDs."""
CODE_ORDER = (
    *("SNOMED", "LOINC", "RxNorm", "CVX", "CPT4", "HCPCS", "ICD10PCS", "ICD10CM", "ICD10", "ICD9CM", "ICD9Proc"),
    *("NDC", "ATC"),
)
"""Which of several codes of a concept names the event."""


@dataclass(frozen=True)
class Coded:
    """The code of a concept, its description, and its codes in other systems. `is_known`: of a known vocabulary."""

    code: str
    description: str | None
    others: tuple[str, ...] = ()
    is_known: bool = True


class Vocabularies:
    """What code systems are called here, and what their codes are said to mean."""

    def __init__(self, order: Iterable[str] = CODE_ORDER, named: Mapping[str, str] | None = None) -> None:
        """`named`: what a site calls systems of its own. Raises ConfigError for a name that is none."""
        self._known = SYSTEMS | dict(named or {})
        for name in self._known.values():
            if not name or "/" in name or name == "FHIR":
                raise ConfigError(f"--system: {name!r} is no name of a vocabulary", hint="For example URL=LAB.")
        self._vocabularies = frozenset(self._known.values())
        self._places = {name: place for place, name in enumerate(order)}
        self._names: dict[str, str] = {}
        self._said: Counter[tuple[str, str]] = Counter()

    def chosen(self, concept: CodeableConcept, resource: str) -> Coded | None:
        """The code of a concept: of the vocabulary that comes first in the order, else the first; without a code its
        text stands for one. None where it has neither. Raises InputError for a code that is too long."""
        codes = [coding for coding in concept.coding or () if (coding.code or "").strip()]
        if not codes:
            return self._by_text(concept, resource)
        codes.sort(key=self._place)
        first, *rest = (self._written(coding, resource) for coding in codes)
        description = codes[0].display or concept.text
        self._describe(first, description)
        others = tuple(dict.fromkeys(code for code in rest if code != first))
        return Coded(first, description, others, self._name(codes[0].system) in self._vocabularies)

    def name_of(self, concept: CodeableConcept) -> str | None:
        """A concept in words: the display of its code, else its text, else the code."""
        codes = sorted((coding for coding in concept.coding or () if coding.code or coding.display), key=self._place)
        shown = next((coding.display for coding in codes if coding.display), None)
        return shown or concept.text or next((coding.code for coding in codes), None)

    def descriptions(self) -> Iterator[tuple[str, str]]:
        """Each code's most frequent description, whatever the order of the files."""
        best: dict[str, tuple[int, str]] = {}
        for (code, description), count in self._said.items():
            best[code] = min(best.get(code, (0, "")), (-count, description))
        return ((code, description) for code, (_, description) in best.items())

    def describe(self, code: str, description: str) -> None:
        """Say what a code of ehrdb's own means."""
        self._describe(code, description)

    def _by_text(self, concept: CodeableConcept, resource: str) -> Coded | None:
        text = (concept.text or next((c.display for c in concept.coding or () if c.display), None) or "").strip()
        if not text:
            return None
        code = _short(f"FHIR/{resource}:{text}", resource)
        self._describe(code, text)
        return Coded(code, text, is_known=False)

    def _describe(self, code: str, description: str | None) -> None:
        if description and description.strip():
            self._said[code, description.strip()] += 1

    def _place(self, coding: Coding) -> int:
        return self._places.get(self._name(coding.system), len(self._places))

    def _written(self, coding: Coding, resource: str) -> str:
        name, code = self._name(coding.system), (coding.code or "").strip()
        return _short(f"{name}/{code}" if name else f"FHIR/{resource}:{code}", resource)

    def _name(self, system: str | None) -> str:
        """What a system is called; without one nothing."""
        if not system:
            return ""
        if system not in self._names:
            self._names[system] = self._new_name(system)
        return self._names[system]

    def _new_name(self, system: str) -> str:
        """Unknown systems are called by the end of their URI, which must then be theirs alone."""
        if system in self._known:
            return self._known[system]
        bare = system.split("|")[0].rstrip("/")
        if bare in self._known:
            return self._known[bare]
        name = bare.replace("urn:oid:", "").rsplit("/", 1)[-1].rsplit("#", 1)[-1] or bare
        taken = [other for other, called in {**self._known, **self._names}.items() if called == name]
        if taken or name == "FHIR":
            raise InputError(
                f"the code systems {taken[0] if taken else 'FHIR'} and {system} would both be called {name}",
                hint=f"Name one of them: --system {system}=NAME",
            )
        return name


def _short(code: str, resource: str) -> str:
    if len(code.encode()) > LONGEST_CODE:
        raise InputError(f"is longer than {LONGEST_CODE} bytes", column=f"{resource}.code")
    return code
