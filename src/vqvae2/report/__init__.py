"""The report of a run, and that of an evaluation: each one self-contained page, with its numbers as JSON."""

from vqvae2.report.data import Completions, ReportData
from vqvae2.report.evaluation_page import render_evaluation_page, write_evaluation_page
from vqvae2.report.from_run import write_run_report
from vqvae2.report.page import render_page, write_report

__all__ = [
    "Completions",
    "ReportData",
    "render_evaluation_page",
    "render_page",
    "write_evaluation_page",
    "write_report",
    "write_run_report",
]
