"""What was wrong with annotations, collected while they are read and told once."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field

__all__ = ["AnnotationReport", "Finding", "Notes"]

logger = logging.getLogger(__name__)

_SHOWN = 20
# Datasets are read several times in a run; what was said once is not said again.
_logged: set[str] = set()


@dataclass(frozen=True)
class Finding:
    """One thing found about one annotation.

    Attributes:
        verdict: what became of it: ``"dropped"``, ``"clipped"`` or ``"kept"``; in a conversion also
            ``"lost"`` (the target has no place for it) or ``"changed"``.
        reason: why, in words that are the same for all annotations with this trouble.
        sentence: where and why, for this one.
    """

    verdict: str
    reason: str
    sentence: str


@dataclass
class AnnotationReport:
    """Findings of one dataset.

    Attributes:
        source: what the dataset is called in the summary.
        read: annotations looked at.
        findings: in the order in which they were met.
    """

    source: str
    read: int = 0
    findings: list[Finding] = field(default_factory=list)

    def add(self, verdict: str, reason: str, place: str, detail: str | None = None) -> None:
        """Note a finding.

        Args:
            verdict: see :class:`Finding`.
            reason: the kind of trouble, for the counts.
            place: file and shape or annotation.
            detail: what to say of this one, where it is more than the reason.
        """
        sentence = f"{place}: {verdict}, {detail or reason}."
        self.findings.append(Finding(verdict, reason, sentence))

    @property
    def counts(self) -> Counter[tuple[str, str]]:
        """How many findings there are of each verdict and reason."""
        return Counter((finding.verdict, finding.reason) for finding in self.findings)

    @property
    def dropped(self) -> int:
        """How many annotations were left out."""
        return sum(count for (verdict, _), count in self.counts.items() if verdict == "dropped")

    def summary(self, shown: int = _SHOWN) -> str:
        """Tell the counts first, then the single cases, as many as `shown`."""
        lines = [f"{self.source}: {self.read} annotations read, {self.dropped} dropped."]
        counts = self.counts
        lines += [f"  {n} {verdict}: {reason}" for (verdict, reason), n in counts.most_common()]
        lines += [f"  {finding.sentence}" for finding in self.findings[:shown]]
        if counts.total() > len(self.findings[:shown]):
            lines.append(f"  ... and {counts.total() - len(self.findings[:shown])} more.")
        return "\n".join(lines)

    def log(self) -> None:
        """Write the summary to the log, a warning where there is any finding; the same summary only once."""
        summary = self.summary()
        if summary in _logged:
            return
        _logged.add(summary)
        logger.log(logging.WARNING if self.findings else logging.INFO, "%s", summary)


@dataclass
class Notes:
    """What a report is told later, so that it can be told by another process or another run.

    Attributes:
        read: annotations that were looked at and left out.
        findings: verdict, reason, place and detail of each.
    """

    read: int = 0
    findings: list[tuple[str, str, str, str | None]] = field(default_factory=list)

    def add(self, verdict: str, reason: str, place: str, detail: str | None = None) -> None:
        """Note a finding; see :meth:`AnnotationReport.add`."""
        self.findings.append((verdict, reason, place, detail))

    def tell(self, report: AnnotationReport) -> None:
        """Tell a report."""
        report.read += self.read
        for finding in self.findings:
            report.add(*finding)
