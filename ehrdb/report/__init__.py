"""The evaluation as one HTML file that asks nothing of the network and shows no fewer than 11 patients."""

from ehrdb.report.render import Model, Report, render

__all__ = ["Model", "Report", "render"]
